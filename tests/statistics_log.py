"""The topics of the statistics stage as lists, and the stage itself between them: for laws about crashes and backlogs.

Everything of the stage is the real one but the broker: `History` and `Producer` go to the lists.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any, Self

import pytest

from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import PANES, VERDICTS, Topic
from topologies import late_statistics, statistics_stage
from topologies.batches import Batch
from topologies.history import Logged
from topologies.key_partitions import partition_of
from topologies.producer import Outgoing
from topologies.statistics_stage import Statistics


class Log:
    """Topics by name and partition: what was appended when."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.records: dict[tuple[str, int], list[tuple[Any, int]]] = {}
        self.committed_offsets: dict[tuple[str, int], int] = {}
        self.now_ms = 0
        self.readable = asyncio.Event()  # of `verdicts`: cleared, whoever reads them back waits
        self.readable.set()

    def append(self, topic: Topic, key: str, message: Any) -> None:
        place = topic.name, partition_of(key, of=self.partitions)
        self.records.setdefault(place, []).append((message, self.now_ms))

    def of(self, topic: Topic) -> list[Any]:
        return [message for (name, _), found in self.records.items() if name == topic.name for message, _ in found]

    async def send(self, outgoing: Iterable[Outgoing]) -> None:
        await asyncio.sleep(0)
        for each in outgoing:
            self.append(each.topic, each.key, each.message)


class LogHistory:
    """What `topologies.history.History` says, of lists."""

    def __init__(self, log: Log, **_: Any) -> None:
        self._log = log

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def committed(self, topic: Topic, partitions: frozenset[int]) -> dict[int, int]:
        return {n: offset for (name, n), offset in self._log.committed_offsets.items() if name == topic.name}

    async def end(self, topic: Topic, partition: int) -> int:
        return len(self._log.records.get((topic.name, partition), ()))

    async def time_at(self, topic: Topic, partition: int, offset: int) -> int:
        records = self._log.records.get((topic.name, partition), [])
        return records[offset][1] if offset < len(records) else self._log.now_ms

    async def since(
        self, topic: Topic, partition: int, *, from_ms: int, until_offset: int, decoded: object = None
    ) -> AsyncIterator[Logged]:
        records = self._log.records.get((topic.name, partition), [])
        first = next((offset for offset, (_, at_ms) in enumerate(records) if at_ms >= from_ms), len(records))
        for offset in range(first, min(until_offset, len(records))):
            await asyncio.sleep(0)
            if topic is VERDICTS:
                await self._log.readable.wait()
            yield Logged(message=records[offset][0], partition=partition, offset=offset, at_ms=records[offset][1])


class LoggedStage:
    """The stage between the lists. `deliver` and `tick` it; `crash` it at any time."""

    def __init__(self, plant: Plant, log: Log, patched: pytest.MonkeyPatch) -> None:
        self._plant, self._log = plant, log
        for module in (statistics_stage, late_statistics):
            patched.setattr(module, "History", partial(LogHistory, log))
        self._life = 0

    async def start(self) -> None:
        """From what is committed."""
        self._life += 1
        self.handler = Statistics(plant=self._plant, stage=Stage("statistics"), kafka=KafkaSettings())
        self._next = dict(self._log.committed_offsets)
        self._open: dict[tuple[str, int], list[list[Any]]] = {}
        await self.handler.assigned(frozenset(range(self._log.partitions)), self._log)  # type: ignore[arg-type]

    async def crash(self) -> None:
        """Nothing is drained; what was on its way is lost or not."""
        await self.handler._late.drop()
        if self.handler._sending is not None:
            self.handler._sending.cancel()
        await self.start()

    async def deliver(self, topic: Topic, partition: int, *, most: int) -> bool:
        """A batch of at most so many records; False where there is none."""
        place = topic.name, partition
        first = self._next.get(place, 0)
        records = self._log.records.get(place, [])[first : first + most]
        if not records:
            return False
        self._next[place] = first + len(records)
        held: list[Any] = [first + len(records), False]
        self._open.setdefault(place, []).append(held)
        batch = Batch(
            topic=topic,
            partition=partition,
            records=[(message, first + n, at_ms) for n, (message, at_ms) in enumerate(records)],
            last_offset=first + len(records) - 1,
            on_finish=partial(self._finished, place, held, self._life),
        )
        await self.handler.take_batch(batch)
        return True

    async def tick(self) -> None:
        self._log.now_ms += 260
        await self.handler.tick(self._log.now_ms * 1_000_000)
        for _ in range(3):
            await asyncio.sleep(0)

    async def read(self) -> None:
        """Whatever is read from the log is read."""
        late = self.handler._late
        if reading := [each._task for each in (late.windows, late.figures, late.points) if each._task is not None]:
            await asyncio.wait(reading)

    async def to_the_end(self, *, calm: int = 30) -> None:
        """Until nothing happens any more."""
        quiet = 0
        while quiet < calm:
            before = sum(map(len, self._log.records.values())), dict(self._log.committed_offsets)
            for number in range(self._log.partitions):
                for topic in (VERDICTS, PANES):
                    while await self.deliver(topic, number, most=50):
                        pass
            await self.tick()
            await self.read()
            quiet = (
                quiet + 1 if before == (sum(map(len, self._log.records.values())), self._log.committed_offsets) else 0
            )

    def _finished(self, place: tuple[str, int], held: list[Any], life: int) -> None:
        if life != self._life:
            return  # a dead process commits nothing
        assert not held[1], "finished twice"
        held[1] = True
        while self._open[place] and self._open[place][0][1]:
            self._log.committed_offsets[place] = self._open[place].pop(0)[0]
