"""The judge stage: plc-events, inspections and reviews in; verdicts, defects and commands out. See `processors.judging`.

One judge per partition number, since topics are co-partitioned by station. The records of a part are finished when its verdict
and what follows from it are acknowledged. On assignment the verdicts are read back from the time of the first uncommitted
record on, so that a replay never contradicts one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from processors.judgements import Done, Judgement, Notice
from processors.judging import Judge, JudgeLimits
from schemas.errors import Refused
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.telemetry import Noticed, Stage
from schemas.topics import INSPECTIONS, PLC_EVENTS, REVIEWS, VERDICTS, Topic
from topologies.background import Background
from topologies.decision_sender import DecisionSender, JudgeMetrics
from topologies.history import History, start_of_memory_ms
from topologies.line_runner import LineRunner, Outgoing, Producer, Record
from topologies.review_desk import ReviewDesk

RECALL_AT_ONCE = 8


class _Partition:
    """What belongs to one partition number from its assignment to its revocation."""

    def __init__(self, *, judge: Judge[Record], sender: DecisionSender, reviews: ReviewDesk) -> None:
        self.judge = judge
        self.sender = sender
        self.reviews = reviews

    async def settled(self) -> None:
        await self.sender.settled()
        await self.reviews.settled()


class JudgeHandler:
    """The judge as a handler of the line runner. Make it inside the running loop; `close` at the end."""

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings, limits: JudgeLimits | None = None) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._limits = limits
        self._metrics = JudgeMetrics(stage)
        self._background = Background()
        self._partitions: dict[int, _Partition] = {}
        self._leaving: dict[int, _Partition] = {}

    async def assigned(self, partitions: frozenset[int], producer: Producer) -> None:
        """Reads back what was decided; first lets go out what an earlier assignment of ours still sends."""
        for number in partitions & self._leaving.keys():
            await self._leaving.pop(number).settled()
        judges: dict[int, Judge[Record]] = {n: Judge(plant=self._plant, limits=self._limits) for n in partitions}
        await self._recall(judges)
        for number, judge in judges.items():
            self._partitions[number] = _Partition(
                judge=judge,
                sender=DecisionSender(
                    producer=producer, stage=self._stage, metrics=self._metrics, background=self._background
                ),
                reviews=ReviewDesk(
                    plant=self._plant,
                    partition=number,
                    producer=producer,
                    stage=self._stage,
                    kafka=self._kafka,
                    background=self._background,
                ),
            )

    async def take(self, record: Record) -> None:
        """One record: reviews go to the desk, everything else to the judge."""
        partition = self._partitions[record.partition]
        if record.topic is REVIEWS:
            partition.reviews.put(record)
            return
        judgements = partition.judge.take(
            record.message,
            source=record,
            size_bytes=record.size_bytes,
            at_ns=record.at_ms * NS_PER_MS,
            now_ns=time.time_ns(),
        )
        self._do(partition, judgements)

    async def tick(self, now_ns: int) -> None:
        """Deadlines. Raises what went wrong in the background."""
        self._background.check()
        for partition in self._partitions.values():
            self._do(partition, partition.judge.tick(now_ns))
        self._metrics.open_parts.set(sum(item.judge.open_parts for item in self._partitions.values()))
        self._metrics.early_inspections.set(sum(item.judge.early_inspections for item in self._partitions.values()))

    async def refused(self, record: Record, refused: Refused) -> Sequence[Outgoing]:
        """Nobody can say whose inspection it was: the part's deadline answers for it."""
        return ()

    async def drain(self, partitions: frozenset[int]) -> None:
        """Waits for what is being sent. Parts without a verdict are read again by the next owner."""
        for number in partitions & self._partitions.keys():
            self._leaving[number] = self._partitions.pop(number)
        for number in partitions & self._leaving.keys():
            await self._leaving[number].settled()
            del self._leaving[number]

    async def close(self) -> None:
        """Ends the background work."""
        await self._background.cancel()

    def _do(self, partition: _Partition, judgements: Sequence[Judgement[Record]]) -> None:
        for item in judgements:
            if isinstance(item, Done):
                item.source.finish()
            elif isinstance(item, Notice):
                self._stage.emit(Noticed(what=item.what, subject=item.subject, detail=item.detail))
            else:
                partition.sender.put(item)

    async def _recall(self, judges: dict[int, Judge[Record]]) -> None:
        """Side by side: most of it is waiting for answers, and a line stands still meanwhile."""
        places = asyncio.Semaphore(RECALL_AT_ONCE)

        async def recall(number: int, judge: Judge[Record]) -> None:
            async with places, History(plant=self._plant.plant, stage=self._stage, kafka=self._kafka) as history:
                end = await history.end(VERDICTS, number)
                from_ms = min(
                    [await self._uncommitted_since_ms(history, topic, number) for topic in (PLC_EVENTS, INSPECTIONS)]
                )
                async for logged in history.since(VERDICTS, number, from_ms=from_ms, until_offset=end):
                    judge.recall(logged.message)

        async with asyncio.TaskGroup() as group:
            for number, judge in judges.items():
                group.create_task(recall(number, judge))

    async def _uncommitted_since_ms(self, history: History, topic: Topic, number: int) -> int:
        committed = await history.committed(topic, frozenset({number}))
        return await start_of_memory_ms(history, topic, number, committed=committed.get(number, 0), held_ms=0)


async def run(plant: Plant, *, plant_dir: Path, stage: Stage, stop: asyncio.Event) -> None:
    """Runs the stage until `stop` is set and everything is drained. Raises Fatal for what a person has to change."""
    kafka = KafkaSettings()
    handler = JudgeHandler(plant=plant, stage=stage, kafka=kafka)
    runner = LineRunner(
        plant=plant, stage=stage, topics=(PLC_EVENTS, INSPECTIONS, REVIEWS), handler=handler, kafka=kafka
    )
    try:
        await runner.run(stop)
    finally:
        await handler.close()
