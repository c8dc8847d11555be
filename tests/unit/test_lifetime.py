"""Who waits for a client library can be told to stop at any time."""

from __future__ import annotations

import asyncio

import pytest

from gateways.lifetime import in_own_task


async def test_a_request_that_answers_a_cancellation_keeps_nobody_from_stopping() -> None:
    asked = asyncio.Event()

    async def answers_instead() -> str:
        try:
            asked.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass  # as `wait_for` and asyncua do
        return "answer"

    waiting = asyncio.create_task(in_own_task(answers_instead()))
    await asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_answers_and_errors_are_passed_on() -> None:
    async def fails() -> None:
        raise OSError("gone")

    assert await in_own_task(asyncio.sleep(0, "answer")) == "answer"
    with pytest.raises(OSError, match="gone"):
        await in_own_task(fails())
