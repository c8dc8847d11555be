"""MessagePack bytes and headers of every message, in both directions.

Headers: `schema` (`Name/version`), `content-type`, W3C `traceparent`, and on frames `camera`, `session`, `sequence`,
`part-id`, `station`, so that a body that cannot be decoded still has an owner. `spooled` marks what comes late.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from schemas.errors import Refused
from schemas.frames import Frame, frame_id
from schemas.reasons import RefusalReason
from schemas.topics import CATALOGUE, VERDICTS, Topic
from schemas.verdicts import CountedVerdict, MeasuredViews

SPOOLED = "spooled"
CONTENT_TYPE = b"application/msgpack"

NAME_LIMIT = 256
"""Longest name or id that a frame may carry, in characters: they are repeated in everything that follows from it."""
NAME_LIMIT_BYTES = 4 * NAME_LIMIT
"""What so many characters take at most in UTF-8, as headers hold them."""

_SHOWN_BYTES = 64
_LARGEST_NUMBER = 2**63 - 1
# not `os.urandom`: a system call for each message lets other threads in, and waits for them
_ids = random.Random()
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

_counted_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(CountedVerdict)
_measured_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(MeasuredViews)
_READABLE = {
    topic.name: frozenset(f"{topic.schema}/{version}".encode() for version in range(1, topic.version + 1))
    for topic in CATALOGUE
}
"""What the `schema` header of nearly every record says: looked up first, for it is asked for each."""

_encoder = msgspec.msgpack.Encoder()
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    topic.name: msgspec.msgpack.Decoder(topic.message) for topic in CATALOGUE
}


class Encoded(NamedTuple):
    """A record ready to be produced: value bytes and headers."""

    value: bytes
    headers: list[tuple[str, bytes]]


class FrameOwner(NamedTuple):
    """Whom a frame belongs to, as its headers say; enough to account for it without its body."""

    station: str
    camera: str
    session: str
    sequence: int
    part_id: str
    view: str
    visit: int

    @property
    def frame_id(self) -> str:
        """The frame's id."""
        return frame_id(camera=self.camera, session=self.session, sequence=self.sequence)


def new_traceparent() -> bytes:
    """A fresh W3C trace context (version 00, sampled): https://www.w3.org/TR/trace-context/#traceparent-header."""
    return f"00-{_ids.getrandbits(128):032x}-{_ids.getrandbits(64):016x}-01".encode()


def encode(topic: Topic, message: Any, *, traceparent: bytes | None = None) -> Encoded:
    """Value and headers of `message` for `topic`. Pass the `traceparent` of the record that caused it."""
    headers = [
        ("schema", f"{topic.schema}/{topic.version}".encode()),
        ("content-type", CONTENT_TYPE),
        ("traceparent", traceparent or new_traceparent()),
    ]
    if isinstance(message, Frame):
        headers += [
            ("station", message.station.encode()),
            ("camera", message.camera.encode()),
            ("session", message.session.encode()),
            ("sequence", str(message.sequence).encode()),
            ("part-id", message.part_id.encode()),
            ("view", message.view.encode()),
            ("visit", str(message.visit).encode()),
        ]
    return Encoded(_encoder.encode(message), headers)


def spooled_header(submitted_at_ns: int) -> tuple[str, bytes]:
    """Marks a record that was on a gateway's disk before it was sent: when it was handed over for sending, ns UTC."""
    return SPOOLED, str(submitted_at_ns).encode()


def decode(topic: Topic, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Any:
    """The message in a record of `topic`, typed.

    Raises `Refused` with `unknown_schema`, `unknown_version`, `truncated`, `missing_field` or `wrong_type`.
    A record without a `schema` header is refused: guessing a type from a body is how wrong data gets in.
    """
    _require_schema(topic, headers)
    return _decoded(_decoders[topic.name], topic, value)


def decode_counted(
    value: bytes | None, headers: Iterable[tuple[str, bytes]], *, with_views: bool, measured: bool = False
) -> CountedVerdict:
    """A record of `verdicts` as statistics need it: with its views where one has a defect, of every part `with_views`.
    With `measured` those that are kept are there for charts of measurements, too.

    Raises `Refused` as `decode` does. Views are read with the rest, in 0.6 us: to look for a defect in the record first took 1.1 us.
    """
    _require_schema(VERDICTS, headers)
    verdict: CountedVerdict = _decoded(_counted_decoder, VERDICTS, value)
    if not with_views and not _has_defect(verdict):
        msgspec.structs.force_setattr(verdict, "views", ())
    elif measured and verdict.views:
        found: MeasuredViews = _decoded(_measured_decoder, VERDICTS, value)
        msgspec.structs.force_setattr(verdict, "measured", found.views)
    return verdict


def _has_defect(verdict: CountedVerdict) -> bool:
    for view in verdict.views:  # `any` takes five times as long  # noqa: SIM110
        if view.defects:
            return True
    return False


def _require_schema(topic: Topic, headers: Iterable[tuple[str, bytes]]) -> None:
    said = None
    for key, value in headers:  # a dict of them takes half as long again and more; the last one counts, as in a dict
        if key == "schema":
            said = value
    if said not in _READABLE[topic.name]:
        _check_schema(topic, said)


def _decoded(decoder: msgspec.msgpack.Decoder[Any], topic: Topic, value: bytes | None) -> Any:
    if not value:
        raise Refused(RefusalReason.TRUNCATED, f"empty body on {topic.name}; expected a MessagePack map")
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        reason = RefusalReason.MISSING_FIELD if "missing required field" in str(error) else RefusalReason.WRONG_TYPE
        raise Refused(reason, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(RefusalReason.TRUNCATED, f"not a MessagePack {topic.schema}: {error}") from error


def _check_schema(topic: Topic, said: bytes | None) -> None:
    found = (said or b"")[:_SHOWN_BYTES]  # a Kafka header may be null, and as long as its writer likes
    name, _, version = found.decode("utf-8", "replace").partition("/")
    if name != topic.schema:
        raise Refused(
            RefusalReason.UNKNOWN_SCHEMA,
            f"header schema is {found!r}; {topic.name} carries {topic.schema}/{topic.version}",
        )
    if version not in _versions(topic):
        raise Refused(
            RefusalReason.UNKNOWN_VERSION,
            f"header schema is {found!r}; this reader knows {topic.schema}/1 to {topic.schema}/{topic.version}",
        )


def _versions(topic: Topic) -> set[str]:
    return {str(version) for version in range(1, topic.version + 1)}


def traceparent_of(headers: Iterable[tuple[str, bytes]]) -> bytes | None:
    """The trace context of a record, None where it has none that follows the standard: what it causes gets a new one then."""
    found = dict(headers).get("traceparent")
    return found if found is not None and _TRACEPARENT.fullmatch(found) else None


def frame_owner(headers: Iterable[tuple[str, bytes]]) -> FrameOwner | None:
    """Whom a frame belongs to by its headers alone; None where they do not say, or no message could carry it."""
    found = {
        key: text
        for key, value in headers
        if value is not None
        and len(value) <= NAME_LIMIT_BYTES
        and len(text := value.decode("utf-8", "replace")) <= NAME_LIMIT
    }
    try:
        return FrameOwner(
            station=found["station"],
            camera=found["camera"],
            session=found["session"],
            sequence=_number(found["sequence"]),
            part_id=found["part-id"],
            view=found.get("view", ""),
            visit=_number(found.get("visit", "1")),
        )
    except (KeyError, ValueError):
        return None


def _number(text: str) -> int:
    """Raises ValueError where it is none, or larger than a message can carry."""
    number = int(text)
    if not -_LARGEST_NUMBER <= number <= _LARGEST_NUMBER:
        raise ValueError(f"{text[:_SHOWN_BYTES]}: expected a number of 64 bits")
    return number
