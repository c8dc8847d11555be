"""The header parser agrees with a real encoder, and refuses what is no image without ever raising anything else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.frames import ImageEncoding
from schemas.image_header import read_header


def _encoded(suffix: str, *, width_px: int, height_px: int, channels: int) -> bytes:
    shape = (height_px, width_px) if channels == 1 else (height_px, width_px, channels)
    pixels = np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)
    done, buffer = cv2.imencode(suffix, pixels)
    assert done
    return buffer.tobytes()


@given(
    kind=st.sampled_from([(".jpg", ImageEncoding.JPEG), (".png", ImageEncoding.PNG), (".bmp", ImageEncoding.BMP)]),
    width_px=st.integers(1, 300),
    height_px=st.integers(1, 300),
    channels=st.sampled_from([1, 3]),
)
def test_says_what_the_encoder_wrote(
    kind: tuple[str, ImageEncoding], width_px: int, height_px: int, channels: int
) -> None:
    suffix, encoding = kind
    image = _encoded(suffix, width_px=width_px, height_px=height_px, channels=channels)
    assert read_header(image) == (encoding, width_px, height_px, channels)


def test_reads_progressive_jpeg_and_png_with_alpha() -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    _, progressive = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert read_header(progressive.tobytes()) == (ImageEncoding.JPEG, 30, 20, 3)
    transparent = _encoded(".png", width_px=30, height_px=20, channels=4)
    assert read_header(transparent).channels == 4


@given(suffix=st.sampled_from([".jpg", ".png", ".bmp"]), data=st.data())
def test_a_truncated_or_broken_header_is_a_value_error_or_still_a_header(suffix: str, data: st.DataObject) -> None:
    image = bytearray(_encoded(suffix, width_px=40, height_px=30, channels=3))
    end = data.draw(st.integers(0, 60))
    where = data.draw(st.integers(0, 60))
    image[where] = data.draw(st.integers(0, 255))
    try:
        header = read_header(bytes(image[:end]))
    except ValueError:
        return
    assert header.width_px > 0
    assert header.height_px > 0


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise_anything_else(noise: bytes) -> None:
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"):
        try:
            read_header(start + noise)
        except ValueError:
            pass


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (b"", "expected JPEG, PNG or BMP"),
        (b"not an image", "expected JPEG, PNG or BMP"),
        (b"\xff\xd8\xff\xe0\x00", "ends inside its header"),
        (b"\xff\xd8\xff\xd9", "before any frame header"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x00\x00\x00\x00\x00\x05\x08\x00", "0 x 5 px"),
    ],
)
def test_the_refusal_says_what_is_wrong(image: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_header(image)
