"""Size and kind of an encoded image, read from its first bytes without decoding a pixel.

A gateway describes what a camera sent by it; the inspect stage refuses an image above its limit by it, before a decoder
allocates memory. Sources: JPEG ITU-T T.81 Annex B, PNG (ISO/IEC 15948) 11.2.2, BMP (Microsoft BITMAPINFOHEADER).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from schemas.frames import ImageEncoding

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
"""How files of the kinds that can be read end, in lower case."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_FILL = re.compile(rb"\xff+")  # a marker may be preceded by any number of FF
# A colour profile of 16 MB takes 255; four million bytes of empty ones would take a second to walk.
_MOST_JPEG_SEGMENTS = 1024
_BMP_CORE_HEADER_BYTES = 12


class ImageHeader(NamedTuple):
    """What the header says; the pixels may still be missing or broken. `channels`: 1 grey, 2 grey + alpha, 3 colour, 4 colour + alpha."""

    encoding: ImageEncoding
    width_px: int
    height_px: int
    channels: int


def read_header(image: bytes) -> ImageHeader:
    """The header of a JPEG, PNG or BMP.

    Raises ValueError when the bytes are none of these, end inside the header, or state no possible size.
    """
    try:
        header = _read(image)
    except (struct.error, IndexError) as error:
        raise ValueError(f"image ends inside its header, after {len(image)} bytes") from error
    if header.width_px <= 0 or header.height_px <= 0:
        raise ValueError(f"{header.encoding} header states {header.width_px} x {header.height_px} px")
    return header


def _read(image: bytes) -> ImageHeader:
    if image.startswith(b"\xff\xd8\xff"):
        return _jpeg(image)
    if image.startswith(_PNG_SIGNATURE):
        return _png(image)
    if image.startswith(b"BM"):
        return _bmp(image)
    raise ValueError(f"expected JPEG, PNG or BMP; the first bytes are {image[:8].hex(' ') or 'none'}")


def _jpeg(image: bytes) -> ImageHeader:
    """Walks the marker segments up to the frame header (SOF)."""
    for segment in jpeg_segments(image, 2):
        if segment.marker in (JPEG_END, JPEG_SCAN):
            raise ValueError("JPEG: pixels or the end come before any frame header")
        if segment.marker in _JPEG_FRAMES:
            height, width, channels = struct.unpack_from(">HHB", image, segment.at + 5)
            if channels == 4:
                raise ValueError("JPEG: 4 components are inks of a printer (CMYK); expected grey or colour light")
            if channels not in (1, 3):
                raise ValueError(f"JPEG: expected 1 or 3 components, found {channels}")
            return ImageHeader(ImageEncoding.JPEG, width, height, channels)
    raise ValueError(f"JPEG: no frame header in the first {_MOST_JPEG_SEGMENTS} segments")


class JpegSegment(NamedTuple):
    """A marker segment: its `marker` without the FF, the offset `at` of that FF, and the offset `end` of what follows it."""

    marker: int
    at: int
    end: int


JPEG_END, JPEG_SCAN = 0xD9, 0xDA


def jpeg_segments(image: bytes, at: int) -> Iterator[JpegSegment]:
    """The segments of a JPEG that follow each other from offset `at`, at most 1024, up to and with the next scan or the end.

    Raises ValueError where none is, and IndexError or struct.error at the end of the bytes.
    """
    for _ in range(_MOST_JPEG_SEGMENTS):
        fill = _JPEG_FILL.match(image, at)
        if fill is None:
            raise ValueError(f"JPEG: expected a marker at byte {at}, found 0x{image[at]:02x}")
        at = fill.end() - 1
        marker = image[at + 1]
        if marker == JPEG_END:
            yield JpegSegment(marker, at, at + 2)
            return
        if marker in _JPEG_ALONE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", image, at + 2)
        if length < 2:
            raise ValueError(f"JPEG: segment of length {length} at byte {at}")
        yield JpegSegment(marker, at, at + 2 + length)
        if marker == JPEG_SCAN:
            return
        at += 2 + length


def _png(image: bytes) -> ImageHeader:
    length, kind, width, height, _depth, colour = struct.unpack_from(">I4sIIBB", image, 8)
    if kind != b"IHDR" or length != 13:
        raise ValueError(f"PNG: expected the IHDR chunk first, found {kind!r} of {length} bytes")
    if colour not in _PNG_CHANNELS:
        raise ValueError(f"PNG: colour type {colour} does not exist")
    return ImageHeader(ImageEncoding.PNG, width, height, _PNG_CHANNELS[colour])


def _bmp(image: bytes) -> ImageHeader:
    (header_bytes,) = struct.unpack_from("<I", image, 14)
    if header_bytes == _BMP_CORE_HEADER_BYTES:
        width, height, _planes, bits = struct.unpack_from("<HHHH", image, 18)
        palette, entry_bytes = image[26 : 26 + 3 * (1 << min(bits, 8))], 3
    elif header_bytes >= 40:
        width, height, _planes, bits, _compression, _size, _x, _y, colours = struct.unpack_from("<iiHHIIiiI", image, 18)
        first, entry_bytes = 14 + header_bytes, 4
        palette = image[first : first + entry_bytes * min(colours or 1 << min(bits, 8), 256)]
    else:
        raise ValueError(f"BMP: expected a header of 12 or at least 40 bytes, found {header_bytes}")
    if bits not in (1, 4, 8, 16, 24, 32):
        raise ValueError(f"BMP: {bits} bits a pixel do not exist")
    # a negative height means that the rows run from top to bottom
    return ImageHeader(ImageEncoding.BMP, width, abs(height), _bmp_channels(bits, palette, entry_bytes))


def _bmp_channels(bits: int, palette: bytes, entry_bytes: int) -> int:
    if bits == 32:
        return 4
    if bits > 8:
        return 3
    grey = palette[0::entry_bytes] == palette[1::entry_bytes] == palette[2::entry_bytes]
    return 1 if grey else 3
