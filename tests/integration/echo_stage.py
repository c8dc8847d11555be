"""A stage for tests of both runners: every review becomes an audit event. Also a process of its own, to be killed.

python tests/integration/echo_stage.py STAGE BOOTSTRAP_SERVERS PLANT

`judge` stands on the line runner, `alerts` on the event runner.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from schemas.errors import Refused
from schemas.plant import KafkaLayout, Plant
from schemas.reasons import VerdictValue
from schemas.records import AuditEvent, Review
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import AUDIT, REVIEWS
from topologies.background import Background
from topologies.event_runner import EventRunner
from topologies.line_runner import LineRunner, Outgoing, Producer, Record

STATIONS = [f"station-{number}" for number in range(12)]


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


def reviews(count: int, *, first: int = 0) -> list[tuple[str, Review]]:
    """`count` reviews of each station, with their keys."""
    return [(station, review(station, number)) for number in range(first, first + count) for station in STATIONS]


def value(stage: Stage, name: str, **labels: str) -> float:
    """A metric of the stage; 0 before it was set."""
    return stage.registry.get_sample_value(f"linesight_{stage.name}_{name}", labels) or 0.0


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


def runner_of(
    handler: Any, plant: Plant, kafka: KafkaSettings, stage: Stage, **options: Any
) -> LineRunner | EventRunner:
    """The runner that `stage` stands on, over reviews."""
    kind = LineRunner if stage.name == "judge" else EventRunner
    return kind(plant=plant, stage=stage, topics=(REVIEWS,), handler=handler, kafka=kafka, **options)


@asynccontextmanager
async def running(name: str, handler: Any, plant: Plant, kafka: KafkaSettings, **options: Any) -> AsyncIterator[Stage]:
    """The stage, until the block ends; then it is stopped and must have drained in time. A runner that fails ends the block."""
    stop, stage = asyncio.Event(), Stage(name)
    block = asyncio.current_task()
    assert block is not None
    task = asyncio.create_task(runner_of(handler, plant, kafka, stage, **options).run(stop))
    task.add_done_callback(lambda done: None if stop.is_set() else block.cancel())
    try:
        yield stage
    except asyncio.CancelledError:
        if task.done():
            block.uncancel()
            task.result()
        raise
    finally:
        stop.set()
        await asyncio.wait_for(task, 12)


async def main(name: str, bootstrap_servers: str, plant: str) -> None:
    """Runs until it is killed."""
    handler = Echo(wait=lambda review: asyncio.sleep(0.001 * (review.reviewed_at_ns % 7)))
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers)
    await runner_of(handler, plant_named(plant), kafka, Stage(name)).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
