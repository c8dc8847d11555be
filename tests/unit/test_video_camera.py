"""A video file as a camera: the trigger count is the number of the frame."""

from __future__ import annotations

import asyncio
from pathlib import Path

import cv2
import numpy as np
import pytest

from gateways.picture_source import CaptureFailed, Trigger
from gateways.video_camera import VideoCamera
from schemas.image_header import read_header
from schemas.plant import Camera, VideoSource

FRAMES = 7


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A lossless video, 64x48 px, whose n-th frame is of the level 10 n."""
    path = tmp_path / "parts.mkv"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 25, (64, 48))
    assert writer.isOpened()
    for number in range(FRAMES):
        writer.write(np.full((48, 64, 3), 10 * number, np.uint8))
    writer.release()
    return path


def camera(path: Path, *, views: tuple[str, ...] = ("v",), max_bytes: int = 1_000_000, max_px: int = 100,
           frames_per_part: int = 1, repeat: bool = False, jpeg_quality: int | None = None,
           timeout_ms: int = 10_000) -> VideoCamera:  # fmt: skip
    source = VideoSource(
        path=path.name, frames_per_part=frames_per_part, repeat=repeat, jpeg_quality=jpeg_quality, timeout_ms=timeout_ms
    )
    described = Camera(
        name="c", views=views, source=source, max_image_bytes=max_bytes, max_width_px=max_px, max_height_px=max_px
    )
    return VideoCamera(camera=described, source=source, plant_dir=path.parent)


async def level(of: VideoCamera, trigger_count: int, view: str = "v") -> int:
    """Which frame is shown."""
    image = (await of.capture(view=view, trigger=Trigger(count=trigger_count, seen_s=0.0, at_s=0.0))).image
    return round(float(cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE).mean()) / 10)


async def test_the_trigger_count_is_the_number_of_the_frame_in_any_order(video: Path) -> None:
    one = camera(video)
    assert one.keeps_triggers
    assert [await level(one, count) for count in (1, 2, 2, 5, 7, 3, 1)] == [0, 1, 1, 4, 6, 2, 0]
    assert await asyncio.gather(*(level(one, count) for count in (1, 2, 3, 4))) == [0, 1, 2, 3]


async def test_each_view_of_a_part_has_its_frame(video: Path) -> None:
    two = camera(video, views=("a", "b"), frames_per_part=3)
    assert [await level(two, 2, "a"), await level(two, 2, "b")] == [3, 4]


async def test_the_end_of_the_file_is_told_or_is_the_beginning(video: Path) -> None:
    ends = camera(video)
    for _ in range(2):
        with pytest.raises(CaptureFailed, match=r"parts\.mkv: no frame 7 \(from 0\), the file has 7"):
            await level(ends, 8)
    assert await level(ends, 7) == 6, "what is there can be had again"
    again = camera(video, repeat=True)
    assert [await level(again, count) for count in (7, 8, 9, 20, 1000)] == [6, 0, 1, 5, 5]


async def test_pictures_are_lossless_unless_said(video: Path) -> None:
    exact = (await camera(video).capture(view="v", trigger=Trigger(count=3, seen_s=0.0, at_s=0.0))).image
    assert read_header(exact)[:3] == ("png", 64, 48)
    assert (cv2.imdecode(np.frombuffer(exact, np.uint8), cv2.IMREAD_COLOR) == 20).all()
    small = (
        await camera(video, jpeg_quality=80).capture(view="v", trigger=Trigger(count=3, seen_s=0.0, at_s=0.0))
    ).image
    assert read_header(small).encoding == "jpeg"


async def test_failures_say_what_happened(video: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mkv").write_text("no video")
    for made, count, said in (
        (camera(tmp_path / "absent.mkv"), 1, r"absent\.mkv: no such file"),
        (camera(tmp_path / "text.mkv"), 1, r"text\.mkv: no video that FFmpeg can read"),
        (camera(video), 0, "trigger counts begin at 1, not at 0"),
        (camera(video, max_bytes=10), 1, r"bytes as PNG, more than 10 \(max_image_bytes\)"),
        (camera(video, max_px=60), 1, "64x48 px; camera c may send 60x60"),
        (camera(video, timeout_ms=0), 7, "frame 6 not reached within 0 ms"),
    ):
        with pytest.raises(CaptureFailed, match=said):
            await level(made, count)


async def test_an_empty_video_that_repeats_is_no_endless_search(tmp_path: Path, video: Path) -> None:
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(video.read_bytes()[:600])  # noqa: ASYNC240 - nothing else runs
    with pytest.raises(CaptureFailed):
        await level(camera(cut, repeat=True), 1)
