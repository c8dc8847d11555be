"""Images are decoded within their camera's limits, and every refusal has its reason."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.decoding import decode_bgr, decode_frame, decode_frame_in_colour
from processors.learned.form import grey
from processors.whole_image import check_whole, header_of
from schemas.errors import Refused
from schemas.frames import Frame, ImageEncoding
from schemas.plant import Camera, ExternalSource
from schemas.reasons import RefusalReason

CAMERA = Camera(
    name="cam",
    views=("top",),
    source=ExternalSource(),
    max_width_px=400,
    max_height_px=300,
    max_image_bytes=200_000,
)
SUFFIX = {ImageEncoding.JPEG: ".jpg", ImageEncoding.PNG: ".png", ImageEncoding.BMP: ".bmp"}


def picture(*, width_px: int = 200, height_px: int = 100) -> npt.NDArray[np.uint8]:
    """A smooth grey picture: survives JPEG nearly unchanged."""
    y, x = np.mgrid[0:height_px, 0:width_px]
    return np.asarray((x + y) % 256 // 2 + 40, np.uint8)


def encoded(image: npt.NDArray[Any], encoding: ImageEncoding) -> bytes:
    return bytes(cv2.imencode(SUFFIX[encoding], image)[1].tobytes())


def frame(content: bytes, **changes: Any) -> Frame:
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
        "encoding": ImageEncoding.JPEG,
        "width_px": 200,
        "height_px": 100,
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return Frame(**{**values, **changes})


def refusal(content: bytes, **changes: Any) -> RefusalReason:
    with pytest.raises(Refused) as raised:
        decode_frame(frame(content, **changes), content, camera=CAMERA)
    assert raised.value.detail
    return raised.value.reason


@pytest.mark.parametrize("encoding", list(SUFFIX))
def test_every_encoding_gives_the_pixels_of_the_camera(encoding: ImageEncoding) -> None:
    content = encoded(picture(), encoding)
    pixels = decode_frame(frame(content, encoding=encoding), content, camera=CAMERA)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - picture()).max() <= (4 if encoding is ImageEncoding.JPEG else 0)


def test_raw_pixels_need_no_decoder() -> None:
    content = picture().tobytes()
    assert (decode_frame(frame(content, encoding=ImageEncoding.RAW), content, camera=CAMERA) == picture()).all()
    colour = np.repeat(picture()[:, :, None], 3, axis=2).tobytes()
    grey = decode_frame(frame(colour, encoding=ImageEncoding.RAW, channels=3), colour, camera=CAMERA)
    assert (grey == picture()).all()


def test_colour_16_bit_and_padded_images_become_grey_8_bit() -> None:
    colour = encoded(np.repeat(picture()[:, :, None], 3, axis=2), ImageEncoding.PNG)
    deep = encoded(picture().astype(np.uint16) * 257, ImageEncoding.PNG)
    padded = encoded(picture(), ImageEncoding.PNG) + bytes(4096)
    for content in (colour, deep, padded):
        pixels = decode_frame(frame(content, encoding=ImageEncoding.PNG), content, camera=CAMERA)
        assert (pixels == picture()).all()


def test_an_exif_rotation_does_not_turn_the_picture() -> None:
    plain = encoded(picture(), ImageEncoding.JPEG)
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHII", 0x0112, 3, 1, 6) + bytes(4)
    turned = plain[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\x00\x00" + tiff + plain[2:]
    pixels = decode_frame(frame(turned), turned, camera=CAMERA)
    assert (pixels == decode_frame(frame(plain), plain, camera=CAMERA)).all()


@pytest.mark.parametrize("encoding", list(SUFFIX))
def test_an_image_that_was_cut_off_is_refused_and_not_judged_half(encoding: ImageEncoding) -> None:
    content = encoded(picture(), encoding)
    for length in (0, 1, 10, 30, len(content) // 2, len(content) - 1):
        assert refusal(content[:length], encoding=encoding) is RefusalReason.UNDECODABLE_IMAGE, length


def test_too_many_bytes_are_refused_first() -> None:
    content = bytes(CAMERA.max_image_bytes + 1)
    assert refusal(content, sha256="0") is RefusalReason.IMAGE_TOO_LARGE


def bomb(width_px: int, height_px: int) -> bytes:
    """A PNG of a few hundred bytes whose header promises any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("decoded before its size was checked")

    monkeypatch.setattr(cv2, "imdecode", never)
    content = bomb(30_000, 30_000)
    for claimed in ((30_000, 30_000), (200, 100)):
        reason = refusal(content, encoding=ImageEncoding.PNG, width_px=claimed[0], height_px=claimed[1])
        assert reason is RefusalReason.IMAGE_TOO_LARGE


@pytest.mark.parametrize(
    "changes",
    [{"size_bytes": 5}, {"sha256": "ab" * 32}, {"width_px": 201}, {"height_px": 99}],
    ids=["bytes", "digest", "width", "height"],
)
def test_an_image_that_is_not_what_its_frame_says_is_a_size_mismatch(changes: dict[str, Any]) -> None:
    assert refusal(encoded(picture(), ImageEncoding.JPEG), **changes) is RefusalReason.SIZE_MISMATCH


def test_raw_pixels_must_fill_the_picture_exactly() -> None:
    content = picture().tobytes()
    raw = {"encoding": ImageEncoding.RAW}
    assert refusal(content[:-1], **raw) is RefusalReason.SIZE_MISMATCH
    assert refusal(content, **raw, channels=3) is RefusalReason.SIZE_MISMATCH
    assert refusal(content, **raw, channels=2) is RefusalReason.UNDECODABLE_IMAGE
    assert refusal(content, **raw, width_px=10**6, height_px=10**6) is RefusalReason.IMAGE_TOO_LARGE
    assert refusal(b"", **raw, width_px=0, height_px=0) is RefusalReason.SIZE_MISMATCH
    # the product is right all the same
    assert (
        refusal(content, **raw, width_px=-picture().shape[1], height_px=-picture().shape[0])
        is RefusalReason.SIZE_MISMATCH
    )


def test_another_encoding_than_the_frame_says_is_refused() -> None:
    content = encoded(picture(), ImageEncoding.PNG)
    assert refusal(content, encoding=ImageEncoding.JPEG) is RefusalReason.UNDECODABLE_IMAGE


@given(st.binary(max_size=400), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"]))
def test_any_bytes_at_all_are_decoded_or_refused(noise: bytes, start: bytes) -> None:
    content = start + noise
    for encoding in ImageEncoding:
        try:
            pixels = decode_frame(frame(content, encoding=encoding), content, camera=CAMERA)
        except Refused:
            continue
        assert pixels.shape == (100, 200)


@given(st.data())
def test_a_damaged_image_is_decoded_or_refused(data: st.DataObject) -> None:
    encoding = data.draw(st.sampled_from(list(SUFFIX)))
    content = bytearray(encoded(picture(), encoding))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(content)
    try:
        pixels = decode_frame(frame(damaged, encoding=encoding), damaged, camera=CAMERA)
    except Refused:
        return
    assert pixels.shape == (100, 200)


def test_the_end_of_a_thumbnail_is_not_taken_for_the_end_of_the_picture() -> None:
    """A cut-off picture with an embedded thumbnail ends with the thumbnail's end marker somewhere before."""
    plain = encoded(np.random.default_rng(1).integers(0, 255, (300, 400), np.uint8), ImageEncoding.JPEG)
    thumbnail = b"Exif\x00\x00" + encoded(picture(width_px=16, height_px=16), ImageEncoding.JPEG)
    content = plain[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail + plain[2:]
    check_whole(content, header_of(content))
    with pytest.raises(Refused, match="cut off"):
        check_whole(content[: len(content) // 2], header_of(content))


def test_a_trained_model_sees_the_colours_that_the_camera_saw() -> None:
    blue, red = np.zeros((100, 200, 3), np.uint8), np.zeros((100, 200, 3), np.uint8)
    blue[..., 0], red[..., 2] = 200, 200
    for encoding in SUFFIX:
        found = decode_frame_in_colour(*framed(encoded(blue, encoding), encoding=encoding), camera=CAMERA)
        assert found.shape == (100, 200, 3)
        assert np.abs(found.astype(int) - blue).max() <= 3
    raw = {"encoding": ImageEncoding.RAW, "channels": 3}
    np.testing.assert_array_equal(decode_frame_in_colour(*framed(red[..., ::-1].tobytes(), **raw), camera=CAMERA), red)


@pytest.mark.parametrize("encoding", list(SUFFIX))
def test_a_picture_without_colour_is_what_golden_comparison_sees(encoding: ImageEncoding) -> None:
    content = encoded(picture(), encoding)
    given = framed(content, encoding=encoding)
    found = decode_frame_in_colour(*given, camera=CAMERA)
    np.testing.assert_array_equal(grey(found), decode_frame(*given, camera=CAMERA))
    np.testing.assert_array_equal(grey(found), grey(decode_bgr(content)))


def test_what_is_refused_in_grey_is_refused_in_colour() -> None:
    for content, changes in (
        (b"nonsense", {}),
        (encoded(picture(), ImageEncoding.JPEG)[:500], {}),
        (encoded(picture(width_px=500), ImageEncoding.PNG), {"encoding": ImageEncoding.PNG, "width_px": 500}),
    ):
        with pytest.raises(Refused) as raised:
            decode_frame_in_colour(*framed(content, **changes), camera=CAMERA)
        assert raised.value.reason is refusal(content, **changes)


def framed(content: bytes, **changes: Any) -> tuple[Frame, bytes]:
    return frame(content, **changes), content
