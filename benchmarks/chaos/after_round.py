"""What the topics say when a round is over: frames in flight, the order of each camera, alerts, the next version's field."""

from __future__ import annotations

from collections import Counter
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from benchmarks.chaos.next_version import NEW_FIELD
from processors.believed_time import believed_ns
from schemas.alerts import Alert, AlertState
from schemas.codec import decode
from schemas.inspections import Inspection
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import ALERTS, INSPECTIONS, VERDICTS, Topic
from schemas.verdicts import Verdict

READ_MS = 10_000
MOST_RAISED = 5
"""Times that one rule may be raised for one subject in a round: more is a storm."""


class AfterRound:
    """Reads a round's inspections, verdicts and alerts. The stages have stopped."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._in: list[int] = []
        self._part_of: list[tuple[str, int]] = []
        self._decided: dict[tuple[str, int], int] = {}
        self._last: dict[tuple[str, str], int] = {}
        self._frames: set[str] = set()
        self._raised: Counter[tuple[str, str]] = Counter()
        self.alerts = 0
        self.out_of_order: list[str] = []
        self.of_next_version = 0
        for topic in (INSPECTIONS, VERDICTS, ALERTS):
            self._read(topic)

    @property
    def storms(self) -> list[str]:
        """Alerts that were raised more often than anybody wants to be told."""
        return [
            f"{rule} raised {count} times for {subject}"
            for (rule, subject), count in self._raised.items()
            if count > MOST_RAISED
        ]

    def most_in_flight(self, *, since_ns: int, until_ns: int) -> int:
        """The most frames that were captured and whose part had no verdict, at any moment of the span."""
        never = max((*self._decided.values(), *self._in, until_ns)) + 1
        steps = [(at_ns, 1) for at_ns in self._in]
        steps += [(self._decided.get(part, never), -1) for part in self._part_of]
        count = most = 0
        begun = False
        for at_ns, change in sorted(steps):
            if at_ns > until_ns:
                break
            if at_ns >= since_ns and not begun:
                begun, most = True, count
            count += change
            if begun:
                most = max(most, count)
        return most if begun else count

    def _read(self, topic: Topic) -> None:
        consumer = KafkaConsumer(enable_auto_commit=False, **KafkaSettings().client())
        try:
            name = topic.on(self._plant.plant)
            places = [TopicPartition(name, number) for number in consumer.partitions_for_topic(name)]
            consumer.assign(places)
            consumer.seek_to_beginning(*places)
            ends = consumer.end_offsets(places)
            while any(consumer.position(place) < end for place, end in ends.items()):
                for records in consumer.poll(timeout_ms=READ_MS).values():
                    for record in records:
                        self.of_next_version += NEW_FIELD.encode() in record.value
                        self._take(decode(topic, record.value, record.headers), at_ms=record.timestamp)
        finally:
            consumer.close()

    def _take(self, message: Any, *, at_ms: int) -> None:
        match message:
            case Inspection() if message.id not in self._frames and not message.is_deferral:
                self._frames.add(message.id)
                key = (message.camera, message.session)
                if message.sequence <= self._last.get(key, -1):
                    self.out_of_order.append(message.id)
                self._last[key] = message.sequence
                self._in.append(believed_ns(message.captured_at_ns, message.received_at_ns))
                self._part_of.append((message.part_id, message.visit))
            case Verdict(revision=1):
                self._decided.setdefault((message.part_id, message.visit), at_ms * 1_000_000)
            case Alert():
                self.alerts += 1
                self._raised[message.rule, message.subject] += message.state is AlertState.RAISED
