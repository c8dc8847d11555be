"""Somebody who writes to a running line's topics what none of its gateways would."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from schemas.codec import Encoded, decode, encode
from schemas.frames import DroppedRange, Frame, ImageEncoding, Manifest, frame_id
from schemas.plant import Plant
from schemas.reasons import DropReason
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES, MANIFESTS, Topic

SESSION = "intruder"
CAMERA = "left"
SEND_TIMEOUT_S = 10.0
READ_MS = 5_000
NEWEST_RECORDS = 24
HUGE_PX = 60_000
PARTS_AHEAD = 8


class Intruder:
    """Frames under a session of its own, whose sequence has no gap but where one is left on purpose."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._sequence = 0

    def send_unreadable(self) -> None:
        """Nobody's bytes, and frames of another schema, of a later version, cut off, without their fields, and of the wrong type."""
        good = self._newest_frame()
        whole = encode(FRAMES, good)
        headers = dict(whole.headers)
        self._send(FRAMES, Encoded(b"\xde\xad\xbe\xef garbage", []))
        self._send(FRAMES, Encoded(whole.value, [("schema", b"Verdict/1")]))
        for value, changed in (
            (whole.value, {"schema": b"Frame/99"}),
            (whole.value[: len(whole.value) // 2], {}),
            (msgspec.msgpack.encode({"id": "left"}), {}),
            (msgspec.msgpack.encode({"id": 7}), {}),
        ):
            mine = {"session": SESSION.encode(), "sequence": str(self._next()).encode()}
            self._send(FRAMES, Encoded(value, list({**headers, **mine, **changed}.items())))

    def send_uninspectable(self) -> None:
        """Frames that can be read: of a camera, station, recipe or part that is not, and pictures that are none or too large."""
        good = self._newest_frame()
        huge = png_header(width_px=HUGE_PX, height_px=HUGE_PX)
        self._send(FRAMES, encode(FRAMES, self._mine(good, camera="nonesuch", sequence=0)))
        for frame in (
            self._mine(good, station="nonesuch"),
            self._mine(good, recipe="nonesuch@1"),
            self._mine(good, part_id=""),
            self._mine(good, part_id="never-arrived"),
            self._picture(good, b"not a picture"),
            self._picture(good, huge, encoding=ImageEncoding.PNG, width_px=HUGE_PX, height_px=HUGE_PX),
        ):
            self._send(FRAMES, encode(FRAMES, frame))

    def spoil_coming_part(self) -> str:
        """A picture that is none, of a part that is still to come, as if it were its own view. Returns the part's id."""
        good = self._newest_frame()
        shift, _, number = good.part_id.rpartition("-")
        part_id = f"{shift}-{int(number) + PARTS_AHEAD:05d}"
        self._send(FRAMES, encode(FRAMES, self._picture(good, b"spoilt", part_id=part_id, visit=1)))
        return part_id

    def send_again(self) -> None:
        """A frame of the gateway, byte for byte."""
        good = self._newest_frame()
        self._send(FRAMES, encode(FRAMES, good))

    def leave_gap(self) -> None:
        """Drops two frames, says so in a manifest, and sends the next, which cannot be read."""
        good = self._newest_frame()
        first, last = self._next(), self._next()
        dropped = DroppedRange(first_sequence=first, last_sequence=last, reason=DropReason.CAPTURE_FAILED.value)
        manifest = Manifest(
            id=frame_id(camera=good.camera, session=SESSION, sequence=first),
            station=good.station,
            camera=good.camera,
            session=SESSION,
            first_sequence=first,
            last_sequence=last,
            made_at_ns=good.captured_at_ns,
            dropped=(dropped,),
        )
        self._send(MANIFESTS, encode(MANIFESTS, manifest))
        after = encode(FRAMES, self._mine(good))
        self._send(FRAMES, Encoded(after.value[: len(after.value) // 2], after.headers))

    def _mine(self, good: Frame, **changes: Any) -> Frame:
        number = changes.pop("sequence", None)
        number = self._next() if number is None else number
        camera = str(changes.get("camera", good.camera))
        name = frame_id(camera=camera, session=SESSION, sequence=number)
        return msgspec.structs.replace(good, id=name, session=SESSION, sequence=number, **changes)

    def _picture(self, good: Frame, content: bytes, **changes: Any) -> Frame:
        digest = hashlib.sha256(content).hexdigest()
        return self._mine(good, image=content, size_bytes=len(content), sha256=digest, **changes)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence - 1

    def _send(self, topic: Topic, record: Encoded) -> None:
        producer = KafkaProducer(acks="all", **KafkaSettings().client())
        try:
            sent = producer.send(
                topic.on(self._plant.plant), key=CAMERA.encode(), value=record.value, headers=record.headers
            )
            sent.get(timeout=SEND_TIMEOUT_S)
        finally:
            producer.close()

    def _newest_frame(self) -> Frame:
        """The newest frame of `CAMERA` that its own gateway sent."""
        consumer = KafkaConsumer(enable_auto_commit=False, **KafkaSettings().client())
        try:
            name = FRAMES.on(self._plant.plant)
            places = [TopicPartition(name, number) for number in consumer.partitions_for_topic(name)]
            consumer.assign(places)
            ends = consumer.end_offsets(places)
            for place, end in ends.items():
                consumer.seek(place, max(0, end - NEWEST_RECORDS))
            found: Frame | None = None
            while any(consumer.position(place) < end for place, end in ends.items()):
                for records in consumer.poll(timeout_ms=READ_MS).values():
                    found = next((frame for record in reversed(records) if (frame := _own(record))), found)
            assert found is not None, "the gateway has sent no frame yet"
            return found
        finally:
            consumer.close()


def _own(record: Any) -> Frame | None:
    """The frame in a record, where a gateway sent it for the camera."""
    said = dict(record.headers)
    if said.get("camera") != CAMERA.encode() or said.get("session") == SESSION.encode():
        return None
    frame: Frame = decode(FRAMES, record.value, record.headers)
    return frame


def png_header(*, width_px: int, height_px: int) -> bytes:
    """A PNG of which only the beginning and the end are there: decoders that trust it reserve all its pixels."""
    size = b"IHDR" + struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + size + struct.pack(">I", zlib.crc32(size))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\x00\x00\x00\x00IEND\xaeB`\x82"
