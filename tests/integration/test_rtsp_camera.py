"""RTSP cameras, served by GStreamer: pictures for parts, and everything that a stream does wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from peers import SYSTEM_PYTHON, require_bindings
from test_camera_verb import camera_test, plant_file

from benchmarks.peers import rtsp_server
from gateways.camera_process import CameraProcess
from gateways.picture_source import CaptureFailed, Picture, TooLate, Trigger
from ops.local.ports import free_ports
from schemas.image_header import read_header
from schemas.plant import Camera, RtspSource

ENCODED = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! h264parse ! rtph264pay name=pay0 pt=96"


def moving(width: int = 320, height: int = 240) -> str:
    """A noisy picture, 25 frames per s, H.264."""
    return (
        f"( videotestsrc is-live=true pattern=snow ! video/x-raw,width={width},height={height},framerate=25/1 "
        f"! videoconvert ! {ENCODED} )"
    )


MJPEG = (
    "( videotestsrc is-live=true pattern=snow ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 "
    "! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
)


@pytest.fixture(scope="module")
def gstreamer() -> None:
    """Skip without the peer; in CI it has to be there."""
    require_bindings(
        "gi.require_version('GstRtspServer', '1.0')", what="GStreamer's RTSP server", packages=rtsp_server.PACKAGES
    )


@asynccontextmanager
async def served(launch: str, port: int, *more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    server = await asyncio.create_subprocess_exec(
        SYSTEM_PYTHON, rtsp_server.__file__, "--port", str(port), "--launch", launch, *more,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        assert await asyncio.wait_for(server.stdout.readline(), 30) == b"listening\n"
        yield server
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()


class Eye:
    """A connected camera, and what it noticed."""

    def __init__(self, url: str, *, window_ms: int = 1000, stall_after_ms: int = 1000) -> None:
        self.noticed: list[tuple[str, str]] = []
        source = RtspSource(url=url, window_ms=window_ms, stall_after_ms=stall_after_ms, jpeg_quality=90)
        self.process = CameraProcess(
            camera=Camera(name="c", views=("v",), source=source, max_width_px=1000, max_height_px=1000),
            answers_within_ms=2 * window_ms,
            tell=lambda what, detail: self.noticed.append((what, detail)),
        )
        self.parts = 0
        self.seen_late_s = 0.0

    async def picture(self) -> Picture:
        self.parts += 1
        now_s = time.monotonic()
        trigger = Trigger(count=self.parts, seen_s=now_s, at_s=now_s - self.seen_late_s)
        self.process.triggered(trigger, wanted=True)
        return await self.process.capture(view="v", trigger=trigger)

    async def picture_at_last(self) -> Picture:
        """The first one that can be had."""
        async with asyncio.timeout(60):
            while True:
                try:
                    return await self.picture()
                except CaptureFailed:
                    await asyncio.sleep(0.05)

    async def failure(self, *unlike: str) -> str:
        """Why there is no picture, once it plays; for another reason than those named."""
        async with asyncio.timeout(60):
            while True:
                try:
                    await self.picture()
                except CaptureFailed as error:
                    if not any(other in str(error) for other in (*unlike, "its process is being started")):
                        return str(error)
                await asyncio.sleep(0.05)

    async def notices(self, what: str) -> str:
        """Waits until something was noticed; its detail."""
        async with asyncio.timeout(60):
            while True:
                if found := [detail for word, detail in self.noticed if word == what]:
                    return found[-1]
                await asyncio.sleep(0.05)


@asynccontextmanager
async def watching(url: str, **settings: int) -> AsyncIterator[Eye]:
    eye = Eye(url, **settings)
    running = asyncio.create_task(eye.process.run())
    try:
        yield eye
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def url_of(port: int, user: str = "") -> str:
    return f"rtsp://{user}127.0.0.1:{port}/main"


def size(picture: Picture) -> tuple[int, int]:
    header = read_header(picture.image)
    return header.width_px, header.height_px


@pytest.mark.parametrize("launch", [moving(), MJPEG], ids=["h264", "mjpeg"])
async def test_each_part_gets_a_frame_of_its_own(gstreamer: None, launch: str) -> None:
    (port,) = free_ports(1)
    async with served(launch, port), watching(url_of(port)) as eye:
        pictures = [await eye.picture_at_last() for _ in range(10)]
    assert {size(picture) for picture in pictures} == {(320, 240)}
    assert len({picture.image for picture in pictures}) == 10
    taken = [picture.captured_at_ns for picture in pictures]
    assert taken == sorted(taken)
    assert not eye.process.keeps_triggers


async def test_two_triggers_before_a_frame_give_the_frame_to_the_second(gstreamer: None) -> None:
    (port,) = free_ports(1)
    async with served(moving(), port), watching(url_of(port)) as eye:
        await eye.picture_at_last()
        first, second = await asyncio.gather(eye.picture(), eye.picture(), return_exceptions=True)
    assert "no frame before the next trigger" in str(first)
    assert isinstance(second, Picture)


async def test_a_server_that_is_killed_is_connected_again_when_it_is_back(gstreamer: None) -> None:
    (port,) = free_ports(1)
    async with watching(url_of(port)) as eye:
        async with served(moving(), port):
            await eye.picture_at_last()
        await eye.notices("camera_stream_ended")
        assert "Connection refused" in await eye.notices("camera_unreachable")
        assert "the stream is away: " in await eye.failure()
        async with served(moving(), port):
            await eye.picture_at_last()


async def test_a_stream_that_stands_still_is_a_stall_and_is_connected_anew(gstreamer: None) -> None:
    (port,) = free_ports(1)
    async with served(moving(), port) as server, watching(url_of(port)) as eye:
        await eye.picture_at_last()
        server.send_signal(signal.SIGSTOP)
        assert await eye.notices("camera_stalled") == f"{url_of(port)}: no frame for 1000 ms"
        server.send_signal(signal.SIGCONT)
        await eye.picture_at_last()


async def test_another_resolution_is_named_and_one_above_the_limit_refused(gstreamer: None) -> None:
    (port,) = free_ports(1)
    async with watching(url_of(port)) as eye:
        for width, height in ((320, 240), (160, 120)):
            async with served(moving(width, height), port):
                assert size(await eye.picture_at_last()) == (width, height)
        assert (await eye.notices("camera_size_changed")).endswith(": 320x240 -> 160x120 px")
        async with served(moving(1280, 240), port):
            assert "1280x240 px; camera c may send 1000x1000" in await eye.failure("no frame")


async def test_a_frame_is_not_given_to_a_part_whose_trigger_was_seen_after_its_window(gstreamer: None) -> None:
    (port,) = free_ports(1)
    async with served(moving(), port), watching(url_of(port)) as eye:
        await eye.picture_at_last()
        eye.seen_late_s = 1.5
        with pytest.raises(TooLate, match="`window_ms` is 1000"):
            await eye.picture()
        eye.seen_late_s = 0.1
        await eye.picture_at_last()


async def test_a_picture_that_repeats_is_the_plant_files_to_allow(gstreamer: None) -> None:
    """What of it is refused is decided where the pictures of every kind of camera meet (`gateways.capture`)."""
    (port,) = free_ports(1)
    frozen = moving().replace("pattern=snow", "pattern=black")
    async with served(frozen, port), watching(url_of(port)) as eye:
        first = await eye.picture_at_last()
        assert (await eye.picture_at_last()).image == first.image
    assert cv2.imdecode(np.frombuffer(first.image, np.uint8), cv2.IMREAD_GRAYSCALE).max() < 30


async def test_half_a_frame_is_no_picture(gstreamer: None) -> None:
    """The server leaves out every tenth piece of a frame; decoders fill such holes with what lies around them."""
    (port,) = free_ports(1)
    holes = moving().replace("ultrafast", "ultrafast threads=4 sliced-threads=true")
    holes = holes.replace("h264parse !", "h264parse ! video/x-h264,alignment=nal ! identity drop-probability=0.1 !")
    async with served(holes, port), watching(url_of(port)) as eye:
        assert "could not be decoded whole" in await eye.failure("no frame")
        await eye.notices("camera_frame_damaged")


@pytest.mark.parametrize(
    ("user", "path", "said"),
    [("eye:wrong-s3cret@", "main", "401"), ("eye:s3cret@", "other", "404"), ("", "main", "401")],
)
async def test_a_wrong_password_or_path_is_told_without_the_password(
    gstreamer: None, user: str, path: str, said: str
) -> None:
    (port,) = free_ports(1)
    async with (
        served(moving(), port, "--user", "eye", "--password", "s3cret"),
        watching(f"rtsp://{user}127.0.0.1:{port}/{path}") as eye,
    ):
        assert said in await eye.notices("camera_unreachable")
        assert said in await eye.failure("being connected")
    assert "s3cret" not in str(eye.noticed)


async def test_the_right_password_opens_the_stream(gstreamer: None) -> None:
    (port,) = free_ports(1)
    async with (
        served(moving(), port, "--user", "eye", "--password", "s3cret"),
        watching(url_of(port, "eye:s3cret@")) as eye,
    ):
        await eye.picture_at_last()


async def test_a_camera_process_that_dies_is_started_again_and_ends_with_the_gateway(gstreamer: None) -> None:
    (port,) = free_ports(1)

    def children() -> set[int]:
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=True
        )
        return {int(line.split()[0]) for line in listed.stdout.splitlines() if "gateways.camera_child" in line}

    async with served(moving(), port):
        async with watching(url_of(port)) as eye:
            await eye.picture_at_last()
            (pid,) = children()
            os.kill(pid, signal.SIGKILL)
            assert await eye.notices("camera_process_ended") == "its process ended with signal SIGKILL"
            await eye.picture_at_last()
        assert not children()


async def test_camera_test_shows_a_stream(gstreamer: None, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with served(moving(), port):
        source = json.dumps({"type": "rtsp", "url": url_of(port), "window_ms": 1000})
        code, report, err = await camera_test(plant_file(tmp_path, source), "left", "--seconds", "3")
    assert (code, err) == (0, "")
    assert report["pictures"] > 3
    assert report["sizes_px"] == {"320x240": report["pictures"]}
    assert report["encodings"] == ["png"]
    assert 20 < report["stream_rate_per_s"] < 30
    assert report["failures"] == {}
    assert read_header((tmp_path / "last").read_bytes()).width_px == 320


async def test_camera_test_of_a_stream_that_is_not_there_says_so(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    source = json.dumps({"type": "rtsp", "url": url_of(port, "eye:s3cret@"), "window_ms": 100})
    code, report, err = await camera_test(plant_file(tmp_path, source), "left", "--seconds", "0.1")
    assert (code, report["pictures"]) == (1, 0)
    assert "Connection refused" in str(report["failures"])
    assert report["noticed"]["camera_unreachable"] > 0
    assert "s3cret" not in err + str(report)
