"""Records on `frames` that no gateway would write, each made from a good frame by damage of one kind.

All are under a session of their own, so that none can be taken for a frame that a gateway will still send.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np

from schemas.codec import encode
from schemas.frames import Frame, frame_id
from schemas.image_header import read_header
from schemas.topics import FRAMES
from simulation.odd_images import odd_images

SESSION = "damaged"
MOST_BYTES = 400_000  # of a damaged record, so that thousands of them do not fill a disk; larger images come rarely
RARELY = 100

_EXTREMES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63 - 1, -(2**63), 2**64 - 1, 0.5, float("nan"), float("-inf"), "", "x", "left", "0" * 300,
    "\\x00", "a\x00b", "../../etc/passwd", "/dev/zero", "ß\u202e", "sha256:" + "0" * 64, b"", b"\xff" * 20, [], {}, [[]], {"": {}},
)  # fmt: skip
_HEADERS = (
    "schema",
    "content-type",
    "traceparent",
    "station",
    "camera",
    "session",
    "sequence",
    "part-id",
    "view",
    "visit",
)


class BadRecord(NamedTuple):
    """A record as it is to be produced. `kind` names the damage."""

    kind: str
    value: bytes | None
    headers: list[tuple[str, bytes]]


class ForeignName(str):
    """A header name as a client writes it that does not care about UTF-8."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """No text."""
        return b"\xff\xfename"


def bad_records(good: Frame, *, count: int, seed: int) -> Iterator[BadRecord]:
    """`count` records, the same ones for the same seed. `good` is a frame with its image inline."""
    assert good.image is not None, "expected a frame with its image inline"
    chance = random.Random(seed)
    picture = cv2.imdecode(np.frombuffer(good.image, np.uint8), cv2.IMREAD_GRAYSCALE)
    odd = list(odd_images(np.asarray(picture, np.uint8)).values())
    kinds: dict[str, Callable[[Frame, random.Random], BadRecord]] = {
        "bytes": _damaged_bytes,
        "body": _another_body,
        "fields": _damaged_fields,
        "headers": _damaged_headers,
        "image": _damaged_image,
        "odd": lambda frame, chance: _odd_image(frame, chance, odd),
    }
    names = list(kinds)
    for number in range(count):
        mine = msgspec.structs.replace(
            good, id=frame_id(camera=good.camera, session=SESSION, sequence=number), session=SESSION, sequence=number
        )
        yield kinds[chance.choice(names)](mine, chance)


def _damaged_bytes(frame: Frame, chance: random.Random) -> BadRecord:
    value, headers = encode(FRAMES, frame)
    body = bytearray(value)
    beginning = min(len(body), 600)  # most of a body is its image
    for _ in range(chance.randint(1, 6)):
        body[chance.randrange(beginning if chance.random() < 0.8 else len(body))] = chance.randrange(256)
    if chance.random() < 0.3:
        del body[chance.randrange(len(body)) :]
    return BadRecord("bytes", bytes(body), headers)


def _another_body(frame: Frame, chance: random.Random) -> BadRecord:
    headers = encode(FRAMES, frame).headers
    bodies = (
        None, b"", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\x91" * 50_000, chance.randbytes(chance.randint(1, 200)), bytes(1000),
        msgspec.msgpack.encode({"id": frame.id}), msgspec.msgpack.encode([frame]), msgspec.json.encode({"id": frame.id}),
    )  # fmt: skip
    return BadRecord("body", chance.choice(bodies), headers)


def _damaged_fields(frame: Frame, chance: random.Random) -> BadRecord:
    headers = encode(FRAMES, frame).headers
    content = {name: getattr(frame, name) for name in frame.__struct_fields__}
    for name in chance.sample(sorted(content), chance.randint(1, 3)):
        if chance.random() < 0.1:
            del content[name]
        elif name != "session":
            content[name] = chance.choice(_EXTREMES)
    return BadRecord("fields", msgspec.msgpack.encode(content), headers)


def _damaged_headers(frame: Frame, chance: random.Random) -> BadRecord:
    value, pairs = encode(FRAMES, frame)
    headers = dict(pairs)
    for name in chance.sample(_HEADERS, chance.randint(1, 3)):
        new = chance.choice(
            (None, b"", b"9" * 250, b"-1", b"\xff\xfe", b"Frame/2", b"Verdict/1", b"x" * 3000, b"1e9", b"\x00")
        )
        if new is None or name == "session":
            headers.pop(name, None)
        else:
            headers[name] = new
    found = list(headers.items())
    if chance.random() < 0.2:
        found.append((ForeignName("name"), b"x"))
    if chance.random() < 0.05:
        found += [("more", b"x" * 100)] * 1000
    # a body that cannot be read makes the headers count
    return BadRecord("headers", value[: len(value) // 2] if chance.random() < 0.5 else value, found)


def _damaged_image(frame: Frame, chance: random.Random) -> BadRecord:
    """Damaged before the gateway took its digest."""
    image = bytearray(frame.image or b"")
    for _ in range(chance.randint(1, 8)):
        image[chance.randrange(len(image))] = chance.randrange(256)
    if chance.random() < 0.4:
        del image[chance.randrange(len(image)) :]
    return BadRecord("image", *_with_image(frame, bytes(image)))


def _odd_image(frame: Frame, chance: random.Random, odd: list[bytes]) -> BadRecord:
    image = chance.choice(odd)
    if len(image) > MOST_BYTES and chance.randrange(RARELY):
        image = image[:MOST_BYTES]
    return BadRecord("odd", *_with_image(frame, image))


def _with_image(frame: Frame, image: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    described = msgspec.structs.replace(
        frame, image=image, size_bytes=len(image), sha256=hashlib.sha256(image).hexdigest()
    )
    try:
        header = read_header(image)
    except ValueError:
        pass  # it keeps the size that it should have
    else:
        described = msgspec.structs.replace(
            described, encoding=header.encoding, width_px=header.width_px, height_px=header.height_px
        )
    encoded = encode(FRAMES, described)
    return encoded.value, encoded.headers
