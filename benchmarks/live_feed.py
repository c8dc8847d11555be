"""Frames at a steady rate, as cameras send them, and what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks.frames import Picture, as_frames
from schemas.codec import decode, encode
from schemas.frames import Frame
from schemas.inspections import Inspection
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES, INSPECTIONS

NO_LIMIT_BYTES = 1 << 30


class LiveFeed:
    """Publishes frames of one session, `rate_per_s` of them, from `start` to `stop`; every image inline. One for each session."""

    def __init__(
        self, *, kafka: KafkaSettings, plant: Plant, pictures: Sequence[Picture], session: str, rate_per_s: float
    ) -> None:
        self._kafka = kafka
        self._plant = plant
        self._frames: Iterator[Frame] = as_frames(
            pictures, count=1 << 40, session=session, inline_limit_bytes=NO_LIMIT_BYTES, store=Path()
        )
        self._every_s = 1 / rate_per_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed")
        self.published = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        producer = KafkaProducer(**self._kafka.client(), acks="all", linger_ms=0, max_request_size=8 << 20)
        partitions: dict[str, int] = {}
        due_s = time.monotonic()
        while not self._stopping.wait(max(0.0, due_s - time.monotonic())):
            due_s += self._every_s
            frame = next(self._frames)
            encoded = encode(FRAMES, frame)
            producer.send(
                FRAMES.on(self._plant.plant),
                key=frame.camera.encode(),
                value=encoded.value,
                headers=encoded.headers,
                partition=partitions.setdefault(frame.camera, len(partitions) % self._plant.kafka.partitions),
            )
            self.published += 1
        producer.flush()
        producer.close()


class Inspections:
    """The inspections that appear on the topic from now on."""

    def __init__(self, *, kafka: KafkaSettings, plant: Plant) -> None:
        name = INSPECTIONS.on(plant.plant)
        places = [TopicPartition(name, number) for number in range(plant.kafka.partitions)]
        self._consumer = KafkaConsumer(**kafka.client())
        self._consumer.assign(places)
        for place, end in self._consumer.end_offsets(places).items():
            self._consumer.seek(place, end)
        self.found: list[Inspection] = []

    def look(self, for_s: float) -> None:
        """Takes what comes within so many s."""
        until_s = time.monotonic() + for_s
        while (left_s := until_s - time.monotonic()) > 0:
            for records in self._consumer.poll(timeout_ms=int(1000 * min(left_s, 0.2)) + 1).values():
                self.found += [decode(INSPECTIONS, record.value, record.headers) for record in records]

    def of(self, session: str) -> list[Inspection]:
        """Those of one session, deferrals left out."""
        return [each for each in self.found if each.session == session and not each.is_deferral]

    def close(self) -> None:
        """Closes the connection."""
        self._consumer.close()


def age_ms(inspection: Inspection) -> float:
    """From the broker's time of the frame to the end of its inspection."""
    return (inspection.inspected_at_ns - inspection.received_at_ns) / 1e6
