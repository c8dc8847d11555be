"""Every odd image gives the pixels that its sensor saw or a named refusal, in bounded time and memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.decoding import decode_frame
from schemas.errors import Refused
from schemas.frames import Frame, ImageEncoding
from schemas.image_header import ImageHeader, read_header
from schemas.plant import Camera, ExternalSource
from schemas.reasons import RefusalReason
from simulation.odd_images import odd_images

HEIGHT_PX, WIDTH_PX = 96, 160
CAMERA = Camera(
    name="cam", views=("top",), source=ExternalSource(), max_width_px=4096, max_height_px=4096, max_image_bytes=8 << 20
)
JPEG_TOLERANCE = 6
MORE_MIB = 64
"""What all odd images together may add to a process, besides their own bytes: a bomb of 30,000 x 30,000 px is 900."""


def picture() -> Any:
    """uint8 [H, W], no two turns of it alike."""
    y, x = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX]
    return np.asarray(30 + x + y // 2, np.uint8)


ODD = odd_images(picture())
READ = {
    *("progressive", "restarts", "padded", "jpeg_and_zip", "png_and_zip", "filled"),
    *(f"exif_{turn}" for turn in range(1, 9)),
    *("png_exif_3", "png_exif_6", "png_16_bit", "png_alpha", "animated", "text_bomb"),
}
TOO_LARGE = {"bomb"}


def frame(content: bytes, **changes: Any) -> Frame:
    header = header_or_none(content) or ImageHeader(ImageEncoding.JPEG, WIDTH_PX, HEIGHT_PX, 1)
    values: dict[str, Any] = {
        "id": "cam/s/0",
        "station": "st",
        "camera": "cam",
        "view": "top",
        "session": "s",
        "sequence": 0,
        "part_id": "p",
        "visit": 1,
        "recipe": "r@1",
        "captured_at_ns": 0,
        "encoding": header.encoding,
        "width_px": header.width_px,
        "height_px": header.height_px,
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return Frame(**{**values, **changes})


def header_or_none(content: bytes) -> ImageHeader | None:
    try:
        return read_header(content)
    except ValueError:
        return None


def decoded(content: bytes, **changes: Any) -> Any:
    """uint8 [H, W], or the reason of the refusal: nothing else may come out."""
    said = frame(content, **changes)
    try:
        pixels = decode_frame(said, content, camera=CAMERA)
    except Refused as refused:
        return refused.reason
    assert pixels.dtype == np.uint8
    assert pixels.shape == (said.height_px, said.width_px)
    return pixels


@pytest.mark.parametrize("name", ODD)
def test_an_odd_image_is_read_as_the_sensor_saw_it_or_refused(name: str) -> None:
    found = decoded(ODD[name])
    if name in READ:
        assert not isinstance(found, RefusalReason), found
        assert np.abs(found.astype(int) - picture()).max() <= JPEG_TOLERANCE
    elif name in TOO_LARGE:
        assert found is RefusalReason.IMAGE_TOO_LARGE
    else:
        assert found is RefusalReason.UNDECODABLE_IMAGE


@pytest.mark.parametrize("name", ["pixels_bomb", "wrapped_pixels_bomb"])
def test_a_bomb_behind_the_pixels_is_told_whatever_size_of_picture_hides_it(name: str) -> None:
    large = np.zeros((1024, 1024), np.uint8)
    hidden = odd_images(large)[name]
    with pytest.raises(Refused, match="inflate to more"):
        decode_frame(frame(hidden), hidden, camera=CAMERA)
    black = bytes(cv2.imencode(".png", large)[1].tobytes())
    assert not decoded(black).any()


def test_the_refused_images_are_what_a_decoder_would_have_taken() -> None:
    """Else they would be refused for another reason than the one that they were made for."""
    for name in ("scans_bomb", "segments", "cmyk", "truncated_and_zip"):
        assert cv2.imdecode(np.frombuffer(ODD[name], np.uint8), cv2.IMREAD_GRAYSCALE).shape == picture().shape


def test_no_odd_image_costs_more_memory_than_its_pixels() -> None:
    """In a process of its own: the peak of this one may be anything by now."""
    program = "import test_fuzz_images; print(test_fuzz_images.growth_mib())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=Path(__file__).parent,
    )
    assert float(done.stdout) < MORE_MIB, done.stdout


def growth_mib() -> float:
    """Peak memory that decoding all odd images adds to that of having made them."""
    decoded(ODD["png_16_bit"])
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now
    before_kib = peak_kib()
    for content in ODD.values():
        decoded(content)
    return (peak_kib() - before_kib) / 1024


def peak_kib() -> int:
    """Most memory that this process had in RAM."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


ENCODED = {
    ImageEncoding.JPEG: [ODD["progressive"], ODD["restarts"], ODD["exif_6"]],
    ImageEncoding.PNG: [ODD["animated"], ODD["png_alpha"], ODD["png_exif_6"]],
    ImageEncoding.BMP: [
        bytes(cv2.imencode(".bmp", image)[1].tobytes()) for image in (picture(), np.dstack([picture()] * 3))
    ],
}
DAMAGE = st.tuples(st.integers(0, 2**20), st.sampled_from(["set", "cut", "insert", "repeat"]), st.binary(max_size=6))


def spoilt(content: bytes, damage: list[tuple[int, str, bytes]]) -> bytes:
    for where, how, new in damage:
        at = where % (len(content) + 1)
        match how:
            case "set":
                content = content[:at] + new + content[at + len(new) :]
            case "cut":
                content = content[:at] + content[at + len(new) * 97 :]
            case "insert":
                content = content[:at] + new + content[at:]
            case "repeat":
                content = content[:at] + content[at // 2 :]
    return content


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    encoding=st.sampled_from(list(ENCODED)), which=st.integers(0, 2), damage=st.lists(DAMAGE, min_size=1, max_size=4)
)
def test_a_damaged_image_is_read_or_refused(
    encoding: ImageEncoding, which: int, damage: list[tuple[int, str, bytes]]
) -> None:
    sources = ENCODED[encoding]
    content = spoilt(sources[which % len(sources)], damage)
    header = header_or_none(content)
    decoded(content)
    decoded(content, encoding=encoding, width_px=WIDTH_PX, height_px=HEIGHT_PX)
    if header is not None:
        assert header.width_px > 0
        assert header.height_px > 0


@settings(max_examples=150, deadline=None)
@given(
    content=st.binary(max_size=600),
    width_px=st.integers(-(2**63), 2**64 - 1) | st.integers(-2, 40),
    height_px=st.integers(-(2**63), 2**64 - 1) | st.integers(-2, 40),
    channels=st.integers(-1, 5),
)
def test_raw_bytes_of_any_size_are_read_or_refused(
    content: bytes, width_px: int, height_px: int, channels: int
) -> None:
    raw = {"encoding": ImageEncoding.RAW, "width_px": width_px, "height_px": height_px, "channels": channels}
    found = decoded(content, **raw)
    if not isinstance(found, RefusalReason):
        assert width_px * height_px * channels == len(content)
