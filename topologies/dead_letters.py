"""The one way out for a record that can never succeed: dead letter, counter and log line together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from schemas.codec import frame_owner
from schemas.errors import Refused
from schemas.records import DeadLetter
from schemas.telemetry import RecordRefused, Stage
from schemas.topics import DEAD_LETTERS, FRAMES, Topic
from topologies.producer import Outgoing, Producer
from topologies.records import Record


def dead_letter(record: Record, refused: Refused, *, stage: Stage, now_ns: int) -> Outgoing:
    """The dead letter of `record`: its bytes and headers as they came, the reason, who refused it."""
    owner = frame_owner(record.headers) if record.topic is FRAMES else None
    letter = DeadLetter(
        id=f"{record.topic.name}/{record.partition}/{record.offset}",
        topic=record.topic.name,
        partition=record.partition,
        offset=record.offset,
        stage=stage.name,
        reason=refused.reason.value,
        detail=refused.detail,
        refused_at_ns=now_ns,
        key=record.key,
        value=record.value,
        headers=record.headers,
        frame_id=owner.frame_id if owner else None,
    )
    return Outgoing(topic=DEAD_LETTERS, key=record.topic.name, message=letter, traceparent=record.traceparent)


def record_of(topic: Topic, raw: Any) -> Record:
    """A record of the Kafka client (`aiokafka.ConsumerRecord`) as the runners hand one out, not decoded."""
    return Record(
        topic=topic,
        message=None,
        partition=raw.partition,
        offset=raw.offset,
        at_ms=raw.timestamp,
        headers=tuple(raw.headers),
        key=raw.key,
        value=raw.value or b"",
        size_bytes=len(raw.value or b""),
        on_finish=lambda: None,
    )


async def refuse(
    record: Record, refused: Refused, *, stage: Stage, producer: Producer, also: Sequence[Outgoing] = ()
) -> None:
    """Sends the dead letter, after what else the refusal brings (`also`), and counts it; returns when the broker has them.

    Finishing the record is the caller's.
    """
    await producer.send([*also, dead_letter(record, refused, stage=stage, now_ns=time.time_ns())])
    stage.emit(
        RecordRefused(
            reason=refused.reason.value,
            detail=refused.detail,
            topic=record.topic.name,
            partition=record.partition,
            offset=record.offset,
        )
    )
