"""What a camera gives is a whole picture of the right trigger, or a failure that says why, in bounded time and memory."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from gateways.camera_sources import open_source
from gateways.folder_camera import FolderCamera, is_whole
from gateways.http_camera import HttpCamera
from gateways.picture_source import FORMER_S, CaptureFailed, TooLate, Trigger
from schemas.errors import ConfigurationError
from schemas.plant import Camera, CameraSource, ExternalSource, FolderSource, HttpSource


def encoded(suffix: str) -> bytes:
    done, buffer = cv2.imencode(suffix, np.random.default_rng(3).integers(0, 256, (20, 30), dtype=np.uint8))
    assert done
    return buffer.tobytes()


PNG = encoded(".png")


def seen(count: int, *, late_s: float = 0.0, not_before_ns: int = 0) -> Trigger:
    """A trigger that was seen now, and happened `late_s` before."""
    now_s = time.monotonic()
    return Trigger(count=count, seen_s=now_s, at_s=now_s - late_s, not_before_ns=not_before_ns)


@asynccontextmanager
async def camera_at(
    answer: Callable[[web.Request], Any],
    *,
    path: str = "/{trigger}",
    timeout_ms: int = 2000,
    expose_within_ms: int = 1000,
    limit: int = 1000_000,
) -> AsyncIterator[HttpCamera]:
    """A camera whose pictures `answer` gives."""
    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{port}{path}"
            source = HttpSource(url=url, timeout_ms=timeout_ms, expose_within_ms=expose_within_ms)
            yield HttpCamera(source=source, max_image_bytes=limit, http=http)
    finally:
        await runner.cleanup()


async def test_the_picture_of_the_trigger_and_view_with_the_cameras_own_time() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=request.path.encode(), headers={"X-Captured-At-Ns": "1234"})

    async with camera_at(answer, path="/{view}/{trigger}") as camera:
        assert await camera.capture(view="top", trigger=seen(7)) == (b"/top/7", 1234)
        assert camera.keeps_triggers


async def test_a_picture_that_comes_a_little_later_is_waited_for() -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(body=PNG) if asked == 3 else web.Response(status=404 if asked == 1 else 503)

    async with camera_at(answer) as camera:
        assert (await camera.capture(view="v", trigger=seen(1))).image == PNG


@pytest.mark.parametrize("header", ["", "-5", "noon", "9" * 40])
async def test_a_time_that_is_none_is_replaced_by_the_gateways(header: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=PNG, headers={"X-Captured-At-Ns": header})

    async with camera_at(answer) as camera:
        assert 10**18 < (await camera.capture(view="v", trigger=seen(1))).captured_at_ns < 10**19


async def test_failures_say_what_happened() -> None:
    async def missing(request: web.Request) -> web.Response:
        return web.Response(status=404)

    async def broken(request: web.Request) -> web.Response:
        return web.Response(status=500)

    async def silent(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async def huge(request: web.Request) -> web.Response:
        return web.Response(body=bytes(2000))

    for answer, said in (
        (missing, "404.* within 100 ms"),
        (broken, "HTTP 500"),
        (silent, "no answer within 100 ms"),
        (huge, "more than 1000 bytes"),
    ):
        async with camera_at(answer, timeout_ms=100, limit=1000) as camera:
            with pytest.raises(CaptureFailed, match=said):
                await camera.capture(view="v", trigger=seen(1))


async def test_a_camera_that_is_not_there_fails_within_its_timeout() -> None:
    async with aiohttp.ClientSession() as http:
        source = HttpSource(url="http://127.0.0.1:9/{trigger}", timeout_ms=100)
        with pytest.raises(CaptureFailed, match=r"no connection to 127\.0\.0\.1:9: Connection refused within 100 ms"):
            await HttpCamera(source=source, max_image_bytes=1000, http=http).capture(view="v", trigger=seen(1))


async def test_a_camera_that_exposes_when_asked_is_asked_for_one_picture_at_a_time() -> None:
    at_once = most = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        return web.Response(body=PNG)

    async with camera_at(answer, path="/now") as camera:
        assert not camera.keeps_triggers
        await asyncio.gather(*(camera.capture(view="v", trigger=seen(number)) for number in range(4)))
    assert most == 1


async def test_a_picture_that_would_be_exposed_too_late_is_not_taken() -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            await asyncio.sleep(30)
        return web.Response(body=PNG)

    async with camera_at(answer, path="/now", timeout_ms=300) as camera:
        first, second = await asyncio.gather(
            *(camera.capture(view="v", trigger=seen(number)) for number in (1, 2)), return_exceptions=True
        )
        assert isinstance(first, CaptureFailed)
        assert isinstance(second, CaptureFailed), "it would show a part that came later"
        assert (await camera.capture(view="v", trigger=seen(3))).image == PNG


async def test_a_camera_that_exposes_when_asked_is_not_asked_long_after_the_trigger() -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(body=PNG)

    async with camera_at(answer, path="/now", timeout_ms=60_000, expose_within_ms=5_000) as camera:
        with pytest.raises(TooLate, match="`expose_within_ms` is 5000"):
            await camera.capture(view="v", trigger=seen(1, late_s=6))
        assert asked == 0
        assert (await camera.capture(view="v", trigger=seen(2, late_s=0.1))).image == PNG
    async with camera_at(answer, path="/{trigger}", timeout_ms=60_000, expose_within_ms=5_000) as keeper:
        assert (await keeper.capture(view="v", trigger=seen(3, late_s=60))).image == PNG


async def test_a_camera_that_is_away_when_it_is_asked_fails_and_is_not_too_late() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=503)

    async with camera_at(answer, path="/now", timeout_ms=20_000, expose_within_ms=200) as camera:
        with pytest.raises(CaptureFailed, match=r"503.* within 200 ms of the trigger") as failed:
            await camera.capture(view="v", trigger=seen(1))
    assert not isinstance(failed.value, TooLate), "an alert counts what the camera did not give"


async def test_the_time_of_an_exposure_runs_from_the_trigger() -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response(body=PNG)

    async with camera_at(answer, path="/now", timeout_ms=20_000, expose_within_ms=20_000) as camera:
        async with asyncio.timeout(10):
            with pytest.raises(CaptureFailed, match="within 20000 ms"):
                await camera.capture(view="v", trigger=seen(1, late_s=19.8))


def of_age(seconds: float, *, camera_is_slow_by_s: float = 0.0) -> dict[str, str]:
    """Headers of a camera whose picture is that old, and whose clock is wrong."""
    now_s = time.time() - camera_is_slow_by_s
    return {"X-Captured-At-Ns": str(int((now_s - seconds) * 1e9)), "Date": formatdate(now_s, usegmt=True)}


@pytest.mark.parametrize("camera_is_slow_by_s", [0.0, 86_400.0, -86_400.0])
async def test_a_picture_of_a_former_plc_session_is_not_that_of_its_count_today(camera_is_slow_by_s: float) -> None:
    ages = iter([4000.0, 3000.0, 0.0])

    async def answer(request: web.Request) -> web.Response:
        age_s = next(ages)
        body = PNG if age_s == 0 else b"yesterday's"
        return web.Response(body=body, headers=of_age(age_s, camera_is_slow_by_s=camera_is_slow_by_s))

    async with camera_at(answer) as camera:
        trigger = seen(1, not_before_ns=time.time_ns() - 1_000_000_000)
        assert (await camera.capture(view="v", trigger=trigger)).image == PNG


async def test_a_camera_that_has_nothing_but_a_former_picture_says_so() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=PNG, headers=of_age(4000))

    async with camera_at(answer, timeout_ms=100) as camera:
        with pytest.raises(CaptureFailed, match="older than the trigger"):
            await camera.capture(view="v", trigger=seen(1, not_before_ns=time.time_ns()))


async def test_a_folder_camera_does_not_take_the_file_of_a_former_plc_session(tmp_path: Path) -> None:
    camera = FolderCamera(source=FolderSource(path=".", timeout_ms=100), max_image_bytes=10_000, plant_dir=tmp_path)
    file, now_ns = tmp_path / "1.png", time.time_ns()
    file.write_bytes(PNG)
    os.utime(file, ns=(now_ns, now_ns - int(4 * FORMER_S * 1e9)))
    with pytest.raises(CaptureFailed, match=r"older than the trigger.*empty the folder"):
        await camera.capture(view="v", trigger=seen(1, not_before_ns=now_ns))
    assert (await camera.capture(view="v", trigger=seen(1))).captured_at_ns == file.stat().st_mtime_ns
    file.write_bytes(PNG)
    assert (await camera.capture(view="v", trigger=seen(1, not_before_ns=now_ns))).image == PNG
    for older in (tmp_path / "1.jpg", tmp_path / "1.bmp"):
        older.write_bytes(b"what the camera sent before it was set to another encoding")
        os.utime(older, ns=(now_ns, now_ns - int(4 * FORMER_S * 1e9)))
    assert (await camera.capture(view="v", trigger=seen(1, not_before_ns=now_ns))).image == PNG


async def test_a_folder_camera_takes_a_file_when_it_is_whole(tmp_path: Path) -> None:
    camera = FolderCamera(
        source=FolderSource(path="in/{view}", timeout_ms=5000), max_image_bytes=10_000, plant_dir=tmp_path
    )
    (tmp_path / "in" / "top").mkdir(parents=True)
    file = tmp_path / "in" / "top" / "12.png"
    taking = asyncio.create_task(camera.capture(view="top", trigger=seen(12)))
    file.write_bytes(PNG[:-5])
    assert not (await asyncio.wait({taking}, timeout=0.1))[0], "half a file is no picture"
    file.write_bytes(PNG)
    assert (await taking).image == PNG


async def test_a_folder_camera_says_what_is_missing(tmp_path: Path) -> None:
    def camera(limit: int) -> FolderCamera:
        return FolderCamera(source=FolderSource(path=".", timeout_ms=50), max_image_bytes=limit, plant_dir=tmp_path)

    (tmp_path / "1.jpg").write_bytes(PNG[:-5])
    (tmp_path / "2.bmp").write_bytes(encoded(".bmp"))
    for trigger, limit, said in (
        (0, 10_000, "did not appear"),
        (1, 10_000, "is not whole"),
        (2, 100, "more than 100 bytes"),
    ):
        with pytest.raises(CaptureFailed, match=said):
            await camera(limit).capture(view="v", trigger=seen(trigger))


@given(suffix=st.sampled_from([".png", ".jpg", ".bmp"]), cut=st.integers(0, 4000))
def test_only_whole_images_are_whole(suffix: str, cut: int) -> None:
    image = encoded(suffix)
    assert is_whole(image)
    if 0 < cut < len(image):
        assert not is_whole(image[:-cut])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (HttpSource(url="http://camera/{trigger}"), "put {view} into `url`"),
        (FolderSource(path="pictures"), "put {view} into `path`"),
    ],
)
async def test_two_views_in_one_place_are_refused_at_the_start(source: CameraSource, said: str, tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(ConfigurationError, match=said):
            open_source(Camera(name="c", views=("a", "b"), source=source), plant_dir=tmp_path, http=http, tell=print)


async def test_an_external_camera_has_no_source_here(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http:
        camera = Camera(name="c", views=("a",), source=ExternalSource())
        assert open_source(camera, plant_dir=tmp_path, http=http, tell=print) is None
