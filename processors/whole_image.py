"""Whether an encoded image is there to its end, and asks for no more work than its size: told without decoding a pixel.

A picture whose end is missing would decode to grey below, be judged, and found full of defects. A few kB of scans or of
compressed nothing would keep a decoder busy for minutes.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from schemas.errors import Refused
from schemas.frames import ImageEncoding
from schemas.image_header import JPEG_END, ImageHeader, jpeg_segments, read_header
from schemas.reasons import RefusalReason

# Encoders write 10 scans of a progressive picture; each is a pass over all pixels, however few bytes it has.
MOST_SCANS = 32
MOST_PNG_CHUNKS = 65_536
JPEG_BEGIN, PNG_BEGIN = 2, 8  # after the signatures

_DEFLATED_AT_ONCE_BYTES, _INFLATED_AT_ONCE_BYTES = 1 << 16, 1 << 20

# In a scan FF is always followed by 00 or a restart marker, or another FF to fill up (ITU T.81, B.1.1.5).
_MARKER_AMID_PIXELS = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_BETWEEN_SCANS = frozenset({0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE})


def header_of(content: bytes) -> ImageHeader:
    """What the header of an encoded image says. Raises Refused `undecodable_image`."""
    try:
        return read_header(content)
    except ValueError as error:
        raise Refused(RefusalReason.UNDECODABLE_IMAGE, str(error)) from error


def check_whole(content: bytes, header: ImageHeader) -> None:
    """Raises Refused `undecodable_image`. The size in the header must have been checked before: work is measured by it.

    What follows the end is not looked at: cameras pad. A BMP has no end mark; its decoder counts.
    """
    try:
        if header.encoding is ImageEncoding.JPEG:
            _walk_jpeg(content)
        elif header.encoding is ImageEncoding.PNG:
            _walk_png(content, most_pixel_bytes=_most_png_bytes(header))
    except ValueError as error:
        raise Refused(RefusalReason.UNDECODABLE_IMAGE, str(error)) from error
    except (struct.error, IndexError) as error:
        raise Refused(
            RefusalReason.UNDECODABLE_IMAGE,
            f"the {header.encoding.value} has no end after {len(content)} bytes: it was cut off",
        ) from error


def _walk_jpeg(content: bytes) -> None:
    at = JPEG_BEGIN
    for scan in range(MOST_SCANS + 1):
        for segment in jpeg_segments(content, at):
            if segment.marker == JPEG_END:
                return
            if scan and segment.marker not in _BETWEEN_SCANS:
                raise ValueError(f"JPEG: marker 0x{segment.marker:02x} amid the pixels, at byte {segment.at}")
            at = segment.end
        found = _MARKER_AMID_PIXELS.search(content, at)
        if found is None:
            raise IndexError("the pixels are the last")
        at = found.start()
    raise ValueError(f"JPEG: more than {MOST_SCANS} scans")


def _walk_png(content: bytes, *, most_pixel_bytes: int) -> None:
    at, pixel_bytes = PNG_BEGIN, 0
    pixels: list[memoryview] = []
    for _ in range(MOST_PNG_CHUNKS):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"IDAT":
            pixels.append(memoryview(content)[at + 8 : at + 8 + length])
            pixel_bytes += length
        at += 12 + length
        if pixel_bytes > most_pixel_bytes:
            raise ValueError(f"PNG: more compressed than plain pixels, more than {most_pixel_bytes} bytes")
        if kind == b"IEND":
            if at > len(content):
                raise IndexError("the last chunk is cut")
            _check_inflated(pixels, most_pixel_bytes)
            return
    raise ValueError(f"PNG: more than {MOST_PNG_CHUNKS} chunks")


def _check_inflated(pixels: list[memoryview], most_pixel_bytes: int) -> None:
    """Raises ValueError where more than pixels comes out: a decoder would inflate all of it.

    It costs half of the decoding to nearly as much. Nothing cheaper tells: a run of nothing hides anywhere in the data.
    """
    inflated_bytes = 0
    for step_bytes in _inflated_step_by_step(b"".join(pixels)):
        inflated_bytes += step_bytes
        if inflated_bytes > most_pixel_bytes:
            raise ValueError(f"PNG: its data inflate to more than its pixels can take, {most_pixel_bytes} bytes")


def _inflated_step_by_step(deflated: bytes) -> Iterator[int]:
    """How many bytes come out at each step. In goes little at once: what is left of it is copied at each step."""
    inflater = zlib.decompressobj()
    try:
        for at in range(0, len(deflated), _DEFLATED_AT_ONCE_BYTES):
            rest = deflated[at : at + _DEFLATED_AT_ONCE_BYTES]
            while rest:
                yield len(inflater.decompress(rest, _INFLATED_AT_ONCE_BYTES))
                rest = inflater.unconsumed_tail
            if inflater.eof:
                return
    except zlib.error:
        return  # the decoder says it better


def _most_png_bytes(header: ImageHeader) -> int:
    """What the pixels take when compression only adds to them: 16 bits a channel, a filter byte a row, and a tenth more."""
    row_bytes = header.width_px * header.channels * 2 + 1
    return 4096 + header.height_px * row_bytes * 11 // 10
