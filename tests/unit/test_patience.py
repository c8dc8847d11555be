"""Who waits for a service that is away: asks until it answers, says so each time, and waits neither long nor in step."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Refused, ServiceAway
from schemas.patience import LONGEST_S, patiently, pause_s, wait_at_most
from schemas.reasons import RefusalReason
from schemas.telemetry import Stage


async def test_a_service_that_is_away_is_asked_until_it_answers_and_each_time_is_counted() -> None:
    stage, outcomes = Stage("inspect"), [ServiceAway("away"), ServiceAway("still away"), None]

    async def ask() -> str:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome
        return "answer"

    assert await patiently(ask, stage=stage, service="store") == "answer"
    assert stage.registry.get_sample_value("linesight_inspect_retried_total", {"reason": "store"}) == 2


async def test_an_error_that_no_repetition_helps_is_raised_at_once() -> None:
    asked = []

    async def ask() -> None:
        asked.append(1)
        raise Refused(RefusalReason.OBJECT_MISSING, "gone")

    with pytest.raises(Refused):
        await patiently(ask, stage=Stage("inspect"), service="store")
    assert len(asked) == 1


@given(attempt=st.integers(1, 10**9))
def test_a_pause_is_never_none_and_never_long(attempt: int) -> None:
    assert 0 < pause_s(attempt) <= LONGEST_S
    assert 0.5 * 30 <= pause_s(attempt + 20, first_s=0.5, longest_s=30) <= 30


async def test_an_event_is_waited_for_and_not_longer_than_agreed() -> None:
    event = asyncio.Event()
    assert not await wait_at_most(0.01, event)
    waiting = asyncio.create_task(wait_at_most(60, event))
    await asyncio.sleep(0)
    event.set()
    assert await waiting
    assert await wait_at_most(0, event), "it was there already"
