"""Images as a broken camera, a careless tool or a stranger may send them, each made from a good picture."""

from __future__ import annotations

import random
import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]

BOMB_PX = 30_000
ZEROS_BYTES = 4_000_000
MANY_SCANS = 5_000
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _COLOUR_ALPHA = 0, 6
_SOF, _SOS = b"\xff\xc0", b"\xff\xda"


def odd_images(picture: Grey) -> dict[str, bytes]:
    """By name, each of the size of `picture` (uint8 [H, W]) where it has one."""
    height_px, width_px = picture.shape
    jpeg, png = _encoded(picture, ".jpg"), _encoded(picture, ".png")
    progressive = _encoded(picture, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last_scan = progressive[progressive.rfind(_SOS) : -2]
    pixels = _chunk(b"IDAT", zlib.compress(_rows(picture)))
    other = zlib.compress(_rows(255 - picture))
    nothing = zlib.compress(bytes(8 << 20), 9)
    noise = random.Random(0).randbytes(6_000)
    head = _PNG_SIGNATURE + _header(width_px, height_px)
    end = _chunk(b"IEND", b"")
    zipped = b"PK\x03\x04" + jpeg + b"PK\x05\x06" + bytes(18)
    deep = picture.astype(np.uint16) * 257
    return {
        "progressive": progressive,
        "restarts": _encoded(picture, ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        "padded": jpeg + bytes(100_000),
        "jpeg_and_zip": jpeg + zipped,
        "png_and_zip": png + zipped,
        "filled": jpeg[:2] + b"\xff" * 100_000 + jpeg[2:],
        **{f"exif_{turn}": _turned_jpeg(jpeg, turn) for turn in range(1, 9)},
        **{f"png_exif_{turn}": _turned_png(png, turn) for turn in (3, 6)},
        "png_16_bit": _encoded(deep, ".png"),
        "png_alpha": head_of(width_px, height_px, _COLOUR_ALPHA)
        + _chunk(b"IDAT", zlib.compress(_rows(np.dstack([picture] * 3 + [255 - picture]))))
        + end,
        "animated": head
        + _chunk(b"acTL", struct.pack(">II", 2, 0))
        + _frame_control(0, width_px, height_px)
        + pixels
        + _frame_control(1, width_px, height_px)
        + _chunk(b"fdAT", struct.pack(">I", 2) + other)
        + end,
        "text_bomb": head + _chunk(b"zTXt", b"a\x00\x00" + nothing) + pixels + end,
        "bomb": _PNG_SIGNATURE + _header(BOMB_PX, BOMB_PX) + _chunk(b"IDAT", nothing) + end,
        "pixels_bomb": head + _chunk(b"IDAT", zlib.compress(bytes(256 << 20), 9)) + end,
        "wrapped_pixels_bomb": head + _chunk(b"IDAT", zlib.compress(_rows(picture) + bytes(8 << 20) + noise, 9)) + end,
        "scans_bomb": progressive[:-2] + last_scan * MANY_SCANS + b"\xff\xd9",
        "segments": jpeg[:2] + b"\xff\xe0\x00\x02" * 500_000 + jpeg[2:],
        "cmyk": _four_inks(jpeg),
        "gif_and_jpeg": b"GIF89a" + jpeg,
        "truncated": jpeg[: len(jpeg) // 2],
        "truncated_and_zip": jpeg[: len(jpeg) // 2] + zipped,
        "truncated_progressive": progressive[: len(progressive) // 2],
        "truncated_png": png[: len(png) // 2],
        "png_without_rows": head + _chunk(b"IDAT", zlib.compress(_rows(picture[: height_px // 2]))) + end,
        "no_px": _PNG_SIGNATURE + _header(0, 0) + pixels + end,
        "no_jpeg_px": _resized_jpeg(jpeg, 0, 0),
        "zeros": bytes(ZEROS_BYTES),
        "empty": b"",
    }


def head_of(width_px: int, height_px: int, colour: int) -> bytes:
    """Signature and header of a PNG of 8 bits."""
    return _PNG_SIGNATURE + _header(width_px, height_px, colour)


def _encoded(image: npt.NDArray[np.generic], suffix: str, *options: int) -> bytes:
    return bytes(cv2.imencode(suffix, image, options)[1].tobytes())


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _header(width_px: int, height_px: int, colour: int = _GREY) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width_px, height_px, 8, colour, 0, 0, 0))


def _frame_control(number: int, width_px: int, height_px: int) -> bytes:
    return _chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width_px, height_px, 0, 0, 1, 10, 0, 0))


def _rows(image: npt.NDArray[np.uint8]) -> bytes:
    """Every row behind its filter byte: none."""
    return b"".join(b"\x00" + row.tobytes() for row in image)


def _orientation(turn: int) -> bytes:
    """A TIFF directory that says nothing but how to hold the picture."""
    return b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHII", 0x0112, 3, 1, turn) + bytes(4)


def _turned_jpeg(jpeg: bytes, turn: int) -> bytes:
    tiff = b"Exif\x00\x00" + _orientation(turn)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(tiff)) + tiff + jpeg[2:]


def _turned_png(png: bytes, turn: int) -> bytes:
    after_header = len(_PNG_SIGNATURE) + 25
    return png[:after_header] + _chunk(b"eXIf", _orientation(turn)) + png[after_header:]


def _resized_jpeg(jpeg: bytes, width_px: int, height_px: int) -> bytes:
    at = jpeg.index(_SOF) + 5
    return jpeg[:at] + struct.pack(">HH", height_px, width_px) + jpeg[at + 4 :]


def _four_inks(jpeg: bytes) -> bytes:
    """The one component of a grey JPEG four times over, each in a scan of its own: what a printer calls CMYK."""
    frame_at, scan_at = jpeg.index(_SOF), jpeg.index(_SOS)
    size = jpeg[frame_at + 5 : frame_at + 9]
    components = b"".join(bytes([number, 0x11, 0]) for number in range(1, 5))
    frame = _SOF + struct.pack(">HB", 8 + len(components), 8) + size + bytes([4]) + components
    grey_frame_bytes = 2 + 11
    pixels = jpeg[scan_at + 10 : -2]
    scans = b"".join(
        _SOS + struct.pack(">HB", 8, 1) + bytes([number, 0x00, 0, 63, 0]) + pixels for number in range(1, 5)
    )
    return jpeg[:frame_at] + frame + jpeg[frame_at + grey_frame_bytes : scan_at] + scans + jpeg[-2:]
