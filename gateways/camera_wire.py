"""What the gateway and the process of one camera say to each other: MessagePack, each message behind its length."""

from __future__ import annotations

from typing import BinaryIO

import msgspec

from schemas.plant import Camera

LENGTH_BYTES = 4
PROCESS_FAILED = "camera_process_failed"
"""Told as the last thing, with what failed."""


class Setup(msgspec.Struct, frozen=True, kw_only=True, tag="setup"):
    """The first message to a camera's process. Not on its command line: addresses may hold passwords."""

    camera: Camera


class Triggered(msgspec.Struct, frozen=True, kw_only=True, tag="triggered"):
    """A trigger, as `gateways.picture_source.Trigger` has it; monotonic time is the same in all processes. Each one, in its order.

    `wanted`: it will be asked for.
    """

    trigger_count: int
    seen_s: float
    at_s: float
    fresh: bool
    wanted: bool


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag="ask"):
    """The picture of a part, after its `Triggered`; count and `seen_s` say which: a PLC that counts anew has the same counts again."""

    number: int
    trigger_count: int
    seen_s: float
    at_s: float


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """The picture that ask `number` wanted."""

    number: int
    image: bytes
    captured_at_ns: int


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    """Why ask `number` gets no picture. `too_late`: none was taken, for it would not show the part."""

    number: int
    why: str
    too_late: bool = False


class Told(msgspec.Struct, frozen=True, kw_only=True, tag="told"):
    """Something noticed; `what` is from a fixed list of words."""

    what: str
    detail: str


class Figures(msgspec.Struct, frozen=True, kw_only=True, tag="figures"):
    """Counts since the process started, once a second. `stamped_s` is the time from the first to the last frame of this connection
    by the camera's time stamps, `connection_frames` the frames in it, both included."""

    frames: int
    connection_frames: int
    stamped_s: float
    connections: int


ToCamera = Setup | Triggered | Ask
FromCamera = Answer | Failure | Told | Figures

_encoder = msgspec.msgpack.Encoder()
_to_camera: msgspec.msgpack.Decoder[ToCamera] = msgspec.msgpack.Decoder(ToCamera)
_from_camera: msgspec.msgpack.Decoder[FromCamera] = msgspec.msgpack.Decoder(FromCamera)


def packed(message: ToCamera | FromCamera) -> bytes:
    """The message as it travels."""
    body = _encoder.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def from_camera(body: bytes) -> FromCamera:
    """A message of a camera's process, without its length. Raises `msgspec.DecodeError`."""
    return _from_camera.decode(body)


def next_to_camera(stream: BinaryIO) -> ToCamera | None:
    """The next message to this process; None at the end of the stream."""
    length = stream.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    return _to_camera.decode(stream.read(int.from_bytes(length, "big")))
