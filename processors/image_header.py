"""Width and height of an encoded image, from its first bytes: known before anything is decoded, so that a picture that
would unpack to gigabytes is refused for the price of reading a header.

Formats: JPEG (ITU T.81, B.2.2), PNG (RFC 2083, 4.1.1), BMP (BITMAPCOREHEADER and BITMAPINFOHEADER).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from schemas.frames import ImageEncoding

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
PADDING_BYTES = 65_536
"""Cameras pad their pictures to whole blocks: the end is looked for in the last bytes, not as the last bytes."""

# Start-of-frame markers are FFC0 to FFCF without DHT, JPG and DAC.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_BMP_CORE_HEADER_BYTES = 12


class NotAnImage(ValueError):
    """The bytes are not a whole image of the encoding that they are said to have."""


def image_size(content: bytes, encoding: ImageEncoding) -> tuple[int, int]:
    """`(width_px, height_px)` of an encoded image, by its header alone.

    Raises NotAnImage for another format, a broken header, or an image whose end is missing. Raw images have no header.
    """
    reader = _READERS.get(encoding)
    if reader is None:
        raise ValueError(f"{encoding.value} images have no header")
    try:
        width_px, height_px = reader(content)
    except (struct.error, IndexError) as error:
        raise NotAnImage(f"the {encoding.value} header is cut off after {len(content)} bytes") from error
    if width_px < 1 or height_px < 1:
        raise NotAnImage(f"the {encoding.value} header says {width_px}x{height_px} px")
    return width_px, height_px


def _jpeg_size(content: bytes) -> tuple[int, int]:
    if not content.startswith(JPEG_START):
        raise NotAnImage(f"expected a JPEG, found bytes {content[:4].hex()}")
    at = 2
    while True:
        if content[at] != 0xFF:
            raise NotAnImage(f"expected a JPEG marker at byte {at}, found {content[at]:#04x}")
        while content[at] == 0xFF:  # fill bytes may stand before a marker
            at += 1
        marker = content[at]
        if marker == _START_OF_SCAN:
            raise NotAnImage("the JPEG has no frame header before its first scan")
        if marker in _SOF:
            height_px, width_px = struct.unpack_from(">HH", content, at + 4)
            break
        at += 1 + int(struct.unpack_from(">H", content, at + 1)[0])
    # in entropy-coded data FF is always followed by 00 or a restart marker, so this can only be the real end
    if content.rfind(JPEG_END, max(at, len(content) - PADDING_BYTES)) < 0:
        raise NotAnImage("the JPEG ends before its end marker: it was cut off")
    return width_px, height_px


def _png_size(content: bytes) -> tuple[int, int]:
    if not content.startswith(PNG_START):
        raise NotAnImage(f"expected a PNG, found bytes {content[:4].hex()}")
    if content[12:16] != b"IHDR":
        raise NotAnImage(f"expected the PNG header chunk, found {content[12:16]!r}")
    width_px, height_px = struct.unpack_from(">II", content, 16)
    if content.rfind(PNG_END, -PADDING_BYTES) < 0:
        raise NotAnImage("the PNG ends before its end chunk: it was cut off")
    return width_px, height_px


def _bmp_size(content: bytes) -> tuple[int, int]:
    if not content.startswith(b"BM"):
        raise NotAnImage(f"expected a BMP, found bytes {content[:4].hex()}")
    pixels_at, header_bytes = struct.unpack_from("<II", content, 10)
    if header_bytes == _BMP_CORE_HEADER_BYTES:
        width_px, height_px, _, bits = struct.unpack_from("<HHHH", content, 18)
    else:
        width_px, height_px, _, bits, compression = struct.unpack_from("<iiHHI", content, 18)
        height_px = abs(height_px)  # negative: the first row is the top one
        if compression not in (0, 3):  # run-length coded: the length says nothing
            return width_px, height_px
    row_bytes = (width_px * bits + 31) // 32 * 4
    if len(content) < pixels_at + row_bytes * height_px:
        raise NotAnImage(
            f"the BMP has {len(content)} bytes, {pixels_at + row_bytes * height_px} expected: it was cut off"
        )
    return width_px, height_px


_READERS: dict[ImageEncoding, Callable[[bytes], tuple[int, int]]] = {
    ImageEncoding.JPEG: _jpeg_size,
    ImageEncoding.PNG: _png_size,
    ImageEncoding.BMP: _bmp_size,
}
