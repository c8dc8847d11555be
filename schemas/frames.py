"""Frames, and the manifests by which a gateway accounts for them."""

from __future__ import annotations

from enum import StrEnum

from schemas.message import Message, Value


class ImageEncoding(StrEnum):
    """How `Frame.image` is encoded. `raw` is row-major uint8, `height_px * width_px * channels` bytes."""

    JPEG = "jpeg"
    PNG = "png"
    BMP = "bmp"
    RAW = "raw"


class Frame(Message, frozen=True, kw_only=True):
    """One image of one view of one part.

    `id` is `camera/session/sequence`. `sequence` counts from 0 without gaps within `session`, one session per start of
    the gateway. `image` holds the encoded bytes; where it is None they lie in the object store at `uri`, and
    `sha256` (lower-case hex) and `size_bytes` describe them in both cases.
    `reference` is the digest (`sha256:<hex>`) of the golden image to compare with, where the frame brings its own;
    otherwise the recipe's is used. `captured_at_ns` is the clock of the camera or gateway, for the record only.
    """

    station: str
    camera: str
    view: str
    session: str
    sequence: int
    part_id: str
    visit: int
    recipe: str
    captured_at_ns: int
    encoding: ImageEncoding
    width_px: int
    height_px: int
    size_bytes: int
    sha256: str
    channels: int = 1
    image: bytes | None = None
    uri: str | None = None
    reference: str | None = None
    trigger_count: int | None = None


def frame_id(*, camera: str, session: str, sequence: int) -> str:
    """The id of a frame, also of one whose body cannot be read but whose headers can."""
    return f"{camera}/{session}/{sequence}"


class DroppedRange(Value, frozen=True, kw_only=True):
    """Frames `first..last` (both included) that never reached the topic, and why (a `DropReason`)."""

    first_sequence: int
    last_sequence: int
    reason: str


class Manifest(Message, frozen=True, kw_only=True):
    """What a gateway sent or dropped of one camera's session since its previous manifest.

    `id` is `camera/session/first_sequence`. Sequences `first_sequence..last_sequence` (both included) are accounted for:
    all were acknowledged by the broker, or lie on the gateway's disk and follow, but those listed in `dropped`.
    `closing` marks the last one of a session. One whose `id` ends in `/given-up` takes frames back that another one counted
    as sent: the disk spool gave them up (`spool_full`, `spool_expired`), and they never reach the topic.
    """

    station: str
    camera: str
    session: str
    first_sequence: int
    last_sequence: int
    made_at_ns: int
    dropped: tuple[DroppedRange, ...] = ()
    closing: bool = False
