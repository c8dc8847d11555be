"""The retraining stage: verdicts in; requests to retrain a model out, with their evidence. See `processors.drift`.

On assignment the newest verdicts of a partition are read back, then what was asked for already: so a restart neither forgets what
it saw nor asks twice. A review may be about a part of last month: its first verdict is looked up on the topic.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from processors.drift import DriftWatch, LastTriggers
from processors.part_state import PartVisit
from schemas.alerts import RetrainingTrigger
from schemas.errors import Refused
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.reasons import VerdictValue
from schemas.settings import KafkaSettings
from schemas.telemetry import Noticed, Stage
from schemas.topics import RETRAINING, VERDICTS
from schemas.verdicts import Verdict
from topologies.event_runner import EventRunner
from topologies.history import History
from topologies.producer import Outgoing, Producer
from topologies.records import Record
from topologies.review_desk import read_revisions

READ_BACK_RECORDS = 50_000
"""Of a partition of verdicts, at a start: a few seconds of reading."""
REVIEWS_READ_BACK = 1_000


class RetrainingHandler:
    """One drift watch per partition, and what was asked for already."""

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._watches: dict[int, DriftWatch] = {}
        self._last = LastTriggers(settings=plant.retraining)
        self._triggers_read = 0
        self._producer: Producer

    async def assigned(self, partitions: frozenset[int], producer: Producer) -> None:
        """Reads back the newest verdicts of these partitions, and what was asked for."""
        self._producer = producer
        async with self._history() as history:
            committed = await history.committed(VERDICTS, partitions)
            for number in sorted(partitions):
                self._watches[number] = await self._recalled(history, number, committed.get(number, 0))
        await self._read_triggers()

    async def take(self, record: Record) -> None:
        """A verdict; the record is finished when what it asks for is on the topic."""
        verdict: Verdict = record.message
        watch = self._watches[record.partition]
        first = await self._first_verdicts(watch, record.partition, [verdict] if verdict.revision > 1 else [])
        trigger = watch.take(verdict, at_ns=record.at_ms * NS_PER_MS, line=first.get(_visit(verdict)))
        if trigger is not None:
            await self._ask(trigger, record)
        record.finish()

    async def tick(self, now_ns: int) -> None:
        """Nothing follows from time alone."""

    async def refused(self, record: Record, refused: Refused) -> Sequence[Outgoing]:
        """Nothing follows from a verdict that cannot be read."""
        return ()

    async def drain(self, partitions: frozenset[int]) -> None:
        """Forgets."""
        for number in partitions:
            self._watches.pop(number, None)

    async def _ask(self, trigger: RetrainingTrigger, record: Record) -> None:
        await self._read_triggers()  # another process may have asked for the same model, for its own stations
        if not self._last.allow(trigger.model, trigger.fired_at_ns):
            return
        message = Outgoing(topic=RETRAINING, key=trigger.model, message=trigger, traceparent=record.traceparent)
        await self._producer.send([message])
        self._last.note(trigger)
        self._stage.log.info("retraining_asked_for", trigger=trigger.id)

    # --- the log ---------------------------------------------------------------------------------------------------------

    def _history(self) -> History:
        return History(plant=self._plant.plant, stage=self._stage, kafka=self._kafka)

    async def _recalled(self, history: History, number: int, committed: int) -> DriftWatch:
        watch = DriftWatch(plant=self._plant, last=self._last)
        from_ms = await history.time_at(VERDICTS, number, max(0, committed - READ_BACK_RECORDS))
        if committed == 0 or from_ms is None:
            return watch
        reviewed: deque[tuple[Verdict, int]] = deque(maxlen=REVIEWS_READ_BACK)
        async for found in history.since(VERDICTS, number, from_ms=from_ms, until_offset=committed):
            if found.message.revision > 1:
                reviewed.append((found.message, found.at_ms * NS_PER_MS))
            else:
                watch.recall(found.message, at_ns=found.at_ms * NS_PER_MS)
        first = await self._first_verdicts(watch, number, [verdict for verdict, _ in reviewed])
        for verdict, at_ns in reviewed:
            watch.recall(verdict, at_ns=at_ns, line=first.get(_visit(verdict)))
        return watch

    async def _read_triggers(self) -> None:
        """The topic has one partition, and a handful of records a year."""
        async with self._history() as history:
            end = await history.end(RETRAINING, 0)
            async for found in history.since(RETRAINING, 0, from_ms=0, until_offset=end):
                if found.offset >= self._triggers_read:
                    self._last.note(found.message)
        self._triggers_read = end

    async def _first_verdicts(
        self, watch: DriftWatch, number: int, reviewed: Sequence[Verdict]
    ) -> dict[PartVisit, VerdictValue]:
        """What the line itself said of reviewed parts that the watch does not remember."""
        wanted = {_visit(verdict) for verdict in reviewed if watch.line_verdict(_visit(verdict)) is None}
        if not wanted:
            return {}
        known = await read_revisions(number, wanted, plant=self._plant, kafka=self._kafka, stage=self._stage)
        first = {
            visit: found.verdict for visit, all_of_it in known.items() for found in all_of_it if found.revision == 1
        }
        for visit in wanted - first.keys():
            self._stage.emit(Noticed(what="first_verdict_gone", subject=str(visit)))
        return first


def _visit(verdict: Verdict) -> PartVisit:
    return PartVisit(verdict.station, verdict.part_id, verdict.visit)


async def run(plant: Plant, *, plant_dir: Path, stage: Stage, stop: asyncio.Event) -> None:
    """Runs the stage until `stop` is set and everything is drained. Raises Fatal for what a person has to change."""
    kafka = KafkaSettings()
    handler = RetrainingHandler(plant=plant, stage=stage, kafka=kafka)
    runner = EventRunner(plant=plant, stage=stage, topics=(VERDICTS,), handler=handler, kafka=kafka)
    await runner.run(stop)
