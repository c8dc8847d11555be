"""Reviews of one partition, one after the other: find the verdict so far on the topic, send its next revision.

Apart from the judging of live parts: a review may come a week later, and finding its verdict takes a while.
"""

from __future__ import annotations

import asyncio

from processors.part_state import PartVisit
from processors.reviewing import revised
from processors.verdict_consequences import defect_events
from schemas.errors import Refused
from schemas.patience import patiently
from schemas.plant import Plant
from schemas.reasons import RefusalReason
from schemas.records import Review
from schemas.settings import KafkaSettings
from schemas.telemetry import Noticed, Stage
from schemas.topics import VERDICTS
from schemas.verdicts import Verdict
from topologies.background import Background
from topologies.decision_sender import defect_messages
from topologies.line_runner import Outgoing, Producer, Record, refuse
from topologies.topic_reader import Place, Span, TopicReader

BATCH = 100
BLOCK = 5_000


class ReviewDesk:
    """Takes the reviews of one partition. Unsettled ones are bounded by the runner's budget."""

    def __init__(
        self,
        *,
        plant: Plant,
        partition: int,
        producer: Producer,
        stage: Stage,
        kafka: KafkaSettings,
        background: Background,
    ) -> None:
        self._plant = plant
        self._partition = partition
        self._producer = producer
        self._stage = stage
        self._kafka = kafka
        self._background = background
        self._waiting: list[Record] = []
        self._is_working = False
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, record: Record) -> None:
        """Revises the verdict that `record` is about, after those put before."""
        self._waiting.append(record)
        self._idle.clear()
        if not self._is_working:
            self._is_working = True
            self._background.spawn(self._work())

    async def settled(self) -> None:
        """Returns when no review is left."""
        await self._idle.wait()

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                known = await read_revisions(
                    self._partition,
                    {_visit(record.message) for record in batch},
                    plant=self._plant,
                    kafka=self._kafka,
                    stage=self._stage,
                )
                for record in batch:
                    await self._revise(record, known.get(_visit(record.message), []))
                    record.finish()
        finally:  # an error stops the stage; nobody may wait for what will not come
            self._is_working = False
            self._idle.set()

    async def _revise(self, record: Record, known: list[Verdict]) -> None:
        review: Review = record.message
        if not known:
            refused = Refused(RefusalReason.UNKNOWN_PART, f"no verdict on {_visit(review)} is on the topic")
            await refuse(record, refused, stage=self._stage, producer=self._producer)
            return
        verdict = revised(review, known, plant=self._plant)
        if verdict is None:
            self._stage.emit(Noticed(what="duplicate", subject=review.id))
            return
        trace = record.traceparent
        revision = Outgoing(topic=VERDICTS, key=verdict.station, message=verdict, traceparent=trace)
        await self._producer.send([revision, *defect_messages(verdict, defect_events(verdict), trace)])
        known.append(verdict)


async def read_revisions(
    partition: int, wanted: set[PartVisit], *, plant: Plant, kafka: KafkaSettings, stage: Stage
) -> dict[PartVisit, list[Verdict]]:
    """All revisions of the verdicts on `wanted` that lie in `partition`; waits for a broker that is away, visibly."""

    async def read() -> dict[PartVisit, list[Verdict]]:
        async with TopicReader(plant=plant, kafka=kafka) as reader:
            return await revisions(reader, partition, wanted)

    return await patiently(read, stage=stage, service="broker")


async def revisions(
    reader: TopicReader, partition: int, wanted: set[PartVisit], *, block: int = BLOCK
) -> dict[PartVisit, list[Verdict]]:
    """All revisions of the verdicts on `wanted`. Reads backwards in blocks, since people review what is recent, until every
    part's first revision is found: all others come after it. A part without verdict costs the whole partition."""
    place = Place(VERDICTS.name, partition)
    span = (await reader.spans([VERDICTS]))[place]
    found: dict[PartVisit, list[Verdict]] = {}
    missing, end = set(wanted), span.end
    while missing and end > span.first:
        first = max(span.first, end - block)
        async for stored in reader.read([VERDICTS], {place: Span(first, end)}):
            verdict = stored.message
            if verdict is None or (visit := _visit(verdict)) not in wanted:
                continue
            found.setdefault(visit, []).append(verdict)
            if verdict.revision == 1:
                missing.discard(visit)
        end = first
    return found


def _visit(message: Review | Verdict) -> PartVisit:
    return PartVisit(message.station, message.part_id, message.visit)
