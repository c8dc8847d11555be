"""Why a camera whose process does not run is away: what failed, and where to read on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateways.camera_process import CameraProcess
from gateways.picture_source import CaptureFailed, Trigger
from schemas.plant import Camera, HttpSource, RtspSource

STREAM = RtspSource(url="rtsp://127.0.0.1:9/main")


@asynccontextmanager
async def camera(
    source: RtspSource | HttpSource,
) -> AsyncIterator[tuple[CameraProcess, asyncio.Queue[tuple[str, str]]]]:
    """A camera's process that is kept running, and what it tells."""
    told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    process = CameraProcess(
        camera=Camera(name="c", views=("c",), source=source),
        answers_within_ms=100,
        tell=lambda what, detail: told.put_nowait((what, detail)),
    )
    running = asyncio.create_task(process.run())
    try:
        yield process, told
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def why_away(process: CameraProcess) -> str:
    with pytest.raises(CaptureFailed) as failure:
        await process.capture(view="c", trigger=Trigger(count=1, seen_s=0.0, at_s=0.0))
    return str(failure.value)


async def test_before_its_process_runs_a_camera_is_being_started() -> None:
    async with camera(STREAM) as (process, _):
        assert await why_away(process) == "the camera is away: its process is being started"


async def test_a_process_that_cannot_be_started_is_told_with_its_reason_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    async with camera(STREAM) as (process, told):
        for _ in range(2):
            what, detail = await asyncio.wait_for(told.get(), 30)
            assert what == "camera_process_ended"
            assert detail.startswith("its process cannot be started: ")
            assert "/no/such/python" in detail
            assert await why_away(process) == f"the camera is away: {detail}"


async def test_a_process_that_ends_without_a_word_says_where_to_read_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ends = tmp_path / "python"
    ends.write_text("#!/bin/sh\nexit 3\n")
    ends.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(ends))
    async with camera(STREAM) as (_, told):
        assert await asyncio.wait_for(told.get(), 30) == (
            "camera_process_ended",
            "its process ended with status 3; what it wrote of it stands in the log of this process",
        )


async def test_what_a_process_fails_of_at_its_start_is_told() -> None:
    async with camera(HttpSource(url="http://127.0.0.1:9/")) as (process, told):  # no camera for a process of its own
        what, detail = await asyncio.wait_for(told.get(), 30)
        assert (what, "AssertionError" in detail) == ("camera_process_failed", True)
        assert await asyncio.wait_for(told.get(), 30) == (
            "camera_process_ended",
            f"its process ended with status 1: {detail}",
        )
        assert "AssertionError" in await why_away(process)
