"""GigE Vision cameras against Aravis's fake one: software trigger, and a wire whose pulses two sides count."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import cv2
import genicam_peer
import numpy as np
import pytest
from peers import SYSTEM_PYTHON, require_bindings
from test_camera_verb import camera_test, plant_file

from gateways import aravis
from gateways.camera_process import CameraProcess
from gateways.camera_sources import open_source
from gateways.picture_source import CaptureFailed, Picture, Trigger
from schemas.errors import ConfigurationError
from schemas.plant import Camera, GenicamSource

DEVICE = "127.0.0.1"
"""By its name it would be sought, and its stream sent to another interface than this one."""
WINDOW_MS = 400
"""The fake camera looks at its wire every 40 ms; parts come well over twice this apart."""
APART_S = 1.0


@pytest.fixture(scope="module")
def fake_camera() -> None:
    """Skip without the peer; in CI it has to be there."""
    require_bindings(
        "gi.require_version('Aravis', '0.8'); from gi.repository import Aravis",
        what="Aravis's fake camera",
        packages=genicam_peer.PACKAGES,
    )


class Wire:
    """The trigger wire of the fake camera."""

    def __init__(self, peer: asyncio.subprocess.Process) -> None:
        self.peer = peer

    def says(self, line: str) -> None:
        assert self.peer.stdin is not None
        self.peer.stdin.write(f"{line}\n".encode())


@asynccontextmanager
async def plugged_in() -> AsyncIterator[Wire]:
    peer = await asyncio.create_subprocess_exec(
        SYSTEM_PYTHON, genicam_peer.__file__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert peer.stdout is not None
        assert await asyncio.wait_for(peer.stdout.readline(), 30) == b"listening\n"
        yield Wire(peer)
    finally:
        if peer.returncode is None:
            peer.kill()
            await peer.wait()


class Eye:
    """A connected camera, and what it noticed."""

    def __init__(self, source: GenicamSource) -> None:
        self.noticed: list[tuple[str, str]] = []
        self.process = CameraProcess(
            camera=Camera(name="c", views=("v",), source=source),
            answers_within_ms=2 * WINDOW_MS,
            tell=lambda what, detail: self.noticed.append((what, detail)),
        )

    async def picture(self, count: int) -> Picture:
        """That of a trigger that is seen now."""
        now_s = time.monotonic()
        trigger = Trigger(count=count, seen_s=now_s, at_s=now_s)
        self.process.triggered(trigger, wanted=True)
        return await self.process.capture(view="v", trigger=trigger)

    async def picture_at_last(self) -> Picture:
        """The first one that can be had."""
        async with asyncio.timeout(60):
            while True:
                try:
                    return await self.picture(1)
                except CaptureFailed:
                    await asyncio.sleep(0.05)

    async def next_failure(self) -> str:
        async with asyncio.timeout(60):
            while True:
                try:
                    await self.picture(1)
                except CaptureFailed as failed:
                    return str(failed)

    async def notices(self, what: str) -> str:
        async with asyncio.timeout(60):
            while True:
                if found := [detail for word, detail in self.noticed if word == what]:
                    return found[-1]
                await asyncio.sleep(0.05)


@asynccontextmanager
async def watching(**settings: object) -> AsyncIterator[Eye]:
    eye = Eye(GenicamSource(device=DEVICE, window_ms=WINDOW_MS, **settings))  # type: ignore[arg-type]
    running = asyncio.create_task(eye.process.run())
    try:
        yield eye
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def number_in(picture: Picture) -> int:
    """The frame id as the fake camera draws it: a ramp that begins at it (modulo 255)."""
    return int(cv2.imdecode(np.frombuffer(picture.image, np.uint8), cv2.IMREAD_GRAYSCALE)[0, 0])


class Belt:
    """Parts that pass one after the other; each pulses the wire and is counted."""

    def __init__(self, eye: Eye, wire: Wire) -> None:
        self.eye = eye
        self.wire = wire
        self.count = 100

    async def part(self, *, pulses: int = 1) -> Picture | str:
        """The picture of the next part, or why it has none; not sooner than parts come."""
        self.count += 1
        for _ in range(pulses):
            self.wire.says("fire")
            await asyncio.sleep(0.1 if pulses > 1 else 0)
        gone = asyncio.create_task(asyncio.sleep(APART_S))
        try:
            return await self.eye.picture(self.count)
        except CaptureFailed as error:
            return str(error)
        finally:
            await gone

    async def in_step(self) -> int:
        """Parts until one has its picture; the number that it shows."""
        async with asyncio.timeout(60):
            while True:
                if isinstance(picture := await self.part(), Picture):
                    return number_in(picture)


async def test_each_question_fires_one_exposure(fake_camera: None) -> None:
    async with plugged_in(), watching(trigger="software", pixel_format="Mono8", exposure_time_us=10_000.0) as eye:
        first = number_in(await eye.picture_at_last())
        later = [number_in(await eye.picture(n)) for n in range(3)]
    assert later == [(first + step) % 255 for step in (1, 2, 3)]


async def test_a_camera_that_is_unplugged_is_named_and_found_again(fake_camera: None) -> None:
    async with watching(trigger="software", timeout_ms=500) as eye:
        async with plugged_in():
            await eye.picture_at_last()
        assert DEVICE in await eye.notices("camera_away")
        with pytest.raises(CaptureFailed):
            await eye.picture(1)
        async with plugged_in():
            await eye.picture_at_last()


async def test_lost_packets_cost_one_picture_and_never_show_it_later(fake_camera: None) -> None:
    async with plugged_in() as wire, watching(trigger="software", timeout_ms=500) as eye:
        first = number_in(await eye.picture_at_last())
        wire.says("lose 1")
        assert re.search("no frame within 500 ms of TriggerSoftware|arrived damaged", await eye.next_failure())
        wire.says("lose 0")
        assert number_in(await eye.picture_at_last()) != first


async def test_a_stream_that_is_dead_while_the_camera_answers_is_named_and_connected_anew(fake_camera: None) -> None:
    async with plugged_in() as wire, watching(trigger="software", timeout_ms=300) as eye:
        await eye.picture_at_last()
        wire.says("lose 1")
        while not any(what == "camera_stalled" for what, _ in eye.noticed):
            await eye.next_failure()
        assert "triggers in a row without a frame, although the camera answers" in await eye.notices("camera_stalled")
        wire.says("lose 0")
        await eye.picture_at_last()
        assert not any(what == "camera_away" for what, _ in eye.noticed)


async def test_a_frame_that_nobody_asked_for_is_no_parts_picture(fake_camera: None) -> None:
    async with plugged_in() as wire, watching(trigger="software", pixel_format="Mono8") as eye:
        shown = [number_in(await eye.picture_at_last())]
        async with asyncio.timeout(60):
            while not any(what == "camera_frame_stray" for what, _ in eye.noticed):
                wire.says("fire")
                await asyncio.sleep(APART_S)  # a part later; sooner, the fake camera takes both triggers for one
                shown.append(number_in(await eye.picture_at_last()))
        stray = re.search(r"frame id (\d+)", await eye.notices("camera_frame_stray"))
        assert stray is not None
        first, second, third = [number_in(await eye.picture_at_last()) for _ in range(3)]
        assert (second - first) % 255 == (third - second) % 255 == 1, "in step again"
        assert len({*shown, first, second, third}) == len(shown) + 3
        assert int(stray[1]) % 255 not in (*shown, first, second, third)


async def test_pulses_on_the_wire_are_bound_by_the_two_counters(fake_camera: None) -> None:
    async with plugged_in() as wire, watching(trigger_source="Software") as eye:
        belt = Belt(eye, wire)
        shown = await belt.in_step()
        assert [number_in(picture) for _ in range(3) if isinstance(picture := await belt.part(), Picture)] == [
            (shown + step) % 255 for step in (1, 2, 3)
        ]
        wire.says("lose 1")
        assert "no frame with the counter" in str(await belt.part())
        wire.says("lose 0")
        after = await belt.part()
        assert isinstance(after, Picture), "a frame that was lost on the way costs its own part alone"
        assert number_in(after) == (shown + 5) % 255


@pytest.mark.parametrize("pulses", [0, 2])
async def test_a_skipped_or_double_exposure_is_found_out_within_one_part_and_resynchronised(
    fake_camera: None, pulses: int
) -> None:
    async with plugged_in() as wire, watching(trigger_source="Software") as eye:
        belt = Belt(eye, wire)
        shown, start = await belt.in_step(), belt.count
        await belt.part(pulses=pulses)
        assert isinstance(await belt.part(), str), "the part after it has no picture"
        assert await eye.notices("camera_out_of_step")
        assert await belt.in_step() == (shown + belt.count - start - 1 + pulses) % 255


async def test_without_the_library_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(aravis, "LIBRARY", "libabsent.so")
    aravis._library.cache_clear()
    async with aiohttp.ClientSession() as http:
        camera = Camera(name="c", views=("v",), source=GenicamSource(device="x"))
        with pytest.raises(ConfigurationError, match=r"camera c is `genicam`, .* install libaravis-0\.8-0"):
            open_source(camera, plant_dir=tmp_path, http=http, tell=print)
    monkeypatch.undo()
    aravis._library.cache_clear()


async def test_camera_test_triggers_by_software_what_the_plc_would_trigger(fake_camera: None, tmp_path: Path) -> None:
    async with plugged_in() as wire:
        source = f"{{ type: genicam, device: {DEVICE}, trigger: hardware }}"
        code, report, err = await camera_test(plant_file(tmp_path, source), "left", "--seconds", "1")
        assert (code, err) == (0, "")
        assert report["pictures"] > 2
        assert report["sizes_px"] == {"512x512": report["pictures"]}
        assert report["trigger"] == "software, for this test"
        wire.peer.send_signal(signal.SIGTERM)
