"""A stage for tests of the line runner: every review becomes an audit event. Also a process of its own, to be killed.

python tests/integration/echo_stage.py BOOTSTRAP_SERVERS PLANT
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any

from schemas.errors import Refused
from schemas.plant import KafkaLayout, Plant
from schemas.reasons import VerdictValue
from schemas.records import AuditEvent, Review
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import AUDIT, REVIEWS
from topologies.background import Background
from topologies.line_runner import LineRunner, Outgoing, Producer, Record


def plant_named(name: str, *, partitions: int = 4) -> Plant:
    """A plant without lines: enough for the runner."""
    return Plant(plant=name, lines=(), recipes=(), kafka=KafkaLayout(partitions=partitions))


def review(station: str, number: int, *, comment: str = "") -> Review:
    """Review number `number` of a station."""
    return Review(
        id=f"{station}/{number}",
        station=station,
        part_id=f"part-{number}",
        visit=1,
        reviewer="anna",
        reviewed_at_ns=number,
        verdict=VerdictValue.OK,
        comment=comment,
    )


class Echo:
    """Sends one audit event per review, each in a task of its own, after `wait` has been awaited for it."""

    def __init__(self, *, wait: Callable[[Review], Any] | None = None) -> None:
        self.taken: list[str] = []
        self.assignments: list[frozenset[int]] = []
        self.held_bytes = 0
        self.most_held_bytes = 0
        self.ticks = 0
        self._wait = wait
        self._tasks: Background | None = None
        self._producer: Producer | None = None

    async def assigned(self, partitions: frozenset[int], producer: Producer) -> None:
        self.assignments.append(partitions)
        self._producer = producer
        self._tasks = self._tasks or Background()

    async def take(self, record: Record) -> None:
        assert self._tasks is not None
        self.taken.append(record.message.id)
        self.held_bytes += record.size_bytes
        self.most_held_bytes = max(self.most_held_bytes, self.held_bytes)
        self._tasks.spawn(self._answer(record))

    async def _answer(self, record: Record) -> None:
        if self._wait is not None:
            await self._wait(record.message)
        event = AuditEvent(id=record.message.id, actor="echo", action="echo", subject="", at_ns=0)
        assert self._producer is not None
        await self._producer.send([Outgoing(topic=AUDIT, key="echo", message=event, traceparent=record.traceparent)])
        self.held_bytes -= record.size_bytes
        record.finish()

    async def tick(self, now_ns: int) -> None:
        self.ticks += 1
        if self._tasks is not None:
            self._tasks.check()

    async def refused(self, record: Record, refused: Refused) -> Sequence[Outgoing]:
        event = AuditEvent(
            id=f"refused/{refused.reason}", actor="echo", action="refused", subject=refused.detail, at_ns=0
        )
        return [Outgoing(topic=AUDIT, key="echo", message=event)]

    async def drain(self, partitions: frozenset[int]) -> None:
        if self._tasks is not None:
            await self._tasks.settled()


def runner_of(handler: Any, plant: Plant, kafka: KafkaSettings, stage: Stage, **options: Any) -> LineRunner:
    """A line runner over reviews."""
    return LineRunner(plant=plant, stage=stage, topics=(REVIEWS,), handler=handler, kafka=kafka, **options)


async def main(bootstrap_servers: str, plant: str) -> None:
    """Runs until it is killed; says so when it is ready."""
    stage = Stage("judge")
    handler = Echo(wait=lambda review: asyncio.sleep(0.001 * (review.reviewed_at_ns % 7)))
    print("started", flush=True)
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers)
    await runner_of(handler, plant_named(plant), kafka, stage).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
