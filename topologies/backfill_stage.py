"""The backfill stage: inspects the frames that the live group deferred, for the record. A group of its own, which never holds up the other.

It follows `inspections`, where each deferral names the place of its frame, and reads that frame again. Its outcomes go out in the
order of the deferrals, under the frame's own id. It has one frame at a time on the way to Triton, rests after each, in a thread
that yields to every other one, and begins none while live frames wait (docs/decisions/0006).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from processors.distinct import Distinct, Sighting
from processors.inspection import FramePlace, given_up
from schemas.codec import decode
from schemas.errors import Refused
from schemas.frames import Frame
from schemas.inspections import DEFERRED, Inspection, deferral_id
from schemas.plant import Plant
from schemas.reasons import DropReason
from schemas.settings import KafkaSettings
from schemas.telemetry import AttemptRepeated, DroppedByRule, Noticed, Stage
from schemas.topics import FRAMES, INSPECTIONS, MIB_BYTES
from topologies.background import Background
from topologies.dead_letters import record_of, refuse
from topologies.frame_reader import FrameReader
from topologies.inspection_bench import InspectionBench
from topologies.line_runner import LineRunner, Outgoing, Producer, Record
from topologies.live_group import LiveGroup

REST_RATIO = 1.0
"""How long the stage rests after each frame, by how long that took: at most half of what one request at a time can take."""
LONGEST_REST_S = 0.5
BUDGET_BYTES = MIB_BYTES
"""Of deferrals that wait, about a kB each: their frames stay on the broker."""


async def run(plant: Plant, *, plant_dir: Path, stage: Stage, stop: asyncio.Event) -> None:
    """Inspects deferred frames until `stop` is set and what was begun is done. Raises Fatal for configuration."""
    kafka = KafkaSettings()
    bench = InspectionBench(plant=plant, plant_dir=plant_dir, stage=stage, in_the_background=True)
    async with (
        FrameReader(plant=plant.plant, stage=stage, kafka=kafka) as frames,
        LiveGroup(plant=plant.plant, kafka=kafka, say=partial(_say_broker, stage)) as live,
    ):
        backfill = Backfill(frames=frames, live=live, bench=bench, stage=stage)
        runner = LineRunner(
            plant=plant,
            stage=stage,
            topics=(INSPECTIONS,),
            handler=backfill,
            kafka=kafka,
            budget_bytes=BUDGET_BYTES,
            ready=lambda: bench.ready,
        )
        try:
            await runner.run(stop)
        finally:
            await backfill.close()
            await bench.close()


def _say_broker(stage: Stage, detail: str) -> None:
    stage.emit(AttemptRepeated(service="broker", detail=detail))


class Backfill:
    """The stage as the line runner drives it."""

    def __init__(self, *, frames: FrameReader, live: LiveGroup, bench: InspectionBench, stage: Stage) -> None:
        self._frames = frames
        self._live = live
        self._bench = bench
        self._stage = stage
        self._work = Background()
        self._one_at_a_time = asyncio.Lock()
        self._known = Distinct()
        self._draining = False
        self._producer: Producer

    async def assigned(self, partitions: frozenset[int], producer: Producer) -> None:
        """Nothing to prepare: a deferral says all that is needed."""
        self._producer = producer
        self._draining = False

    async def take(self, record: Record) -> None:
        """Begins with a deferral when its turn comes; everything else is no business of ours."""
        inspection: Inspection = record.message
        if not inspection.is_deferral:
            record.finish()
        elif self._known.see(inspection.id, ()) is not Sighting.NEW:
            self._stage.emit(Noticed(what="duplicate", subject=inspection.id))
            record.finish()
        else:
            self._work.spawn(self._backfill(record, inspection))

    async def tick(self, now_ns: int) -> None:
        """Raises what went wrong in a task."""
        self._work.check()
        self._bench.check()

    async def refused(self, record: Record, refused: Refused) -> Sequence[Outgoing]:
        """Nobody can say which frame was meant; the ledger knows that one waits."""
        return ()

    async def drain(self, partitions: frozenset[int]) -> None:
        """Ends the work on what was begun; what waits is read again by the next owner."""
        self._draining = True
        try:
            await self._work.settled()
        finally:
            await self._work.cancel()
            self._known = Distinct()

    async def close(self) -> None:
        """Ends every task."""
        await self._work.cancel()

    async def _backfill(self, record: Record, deferral: Inspection) -> None:
        async with self._one_at_a_time:
            if self._draining:
                return
            await self._live.wait_until_it_keeps_up()
            began_s = time.monotonic()
            inspection, refusal = await self._outcome(deferral)
            await self._send(record, inspection, refusal)
            record.finish()
            if not self._draining:
                await asyncio.sleep(min(LONGEST_REST_S, REST_RATIO * (time.monotonic() - began_s)))

    async def _outcome(self, deferral: Inspection) -> tuple[Inspection, tuple[Record, Refused] | None]:
        """What became of the frame, and the refusal of its record, if it was refused."""
        raw = await self._frames.fetch(deferral.frame_partition, deferral.frame_offset)
        if raw is None:
            return self._gone(deferral), None
        record = record_of(FRAMES, raw)
        try:
            frame: Frame = decode(FRAMES, record.value, record.headers)
        except Refused as refused:
            unread = given_up(deferral, reason=refused.reason, detail=refused.detail, now_ns=time.time_ns())
            return unread, (record, refused)
        if deferral_id(frame.id) != deferral.id:
            return self._gone(deferral), None  # the topic was made anew
        place = FramePlace(
            partition=deferral.frame_partition,
            offset=deferral.frame_offset,
            received_at_ns=deferral.received_at_ns,
        )
        inspection, refusal = await self._bench.inspect(frame, place, warnings=(*deferral.warnings, DEFERRED))
        return inspection, (record, refusal) if refusal is not None else None

    def _gone(self, deferral: Inspection) -> Inspection:
        place = f"frames/{deferral.frame_partition}/{deferral.frame_offset}"
        detail = f"{place} is not there any more: deferred for longer than frames are kept"
        self._stage.emit(DroppedByRule(reason=DropReason.EXPIRED, subject=deferral.id, detail=detail))
        return given_up(deferral, reason=DropReason.EXPIRED, detail=detail, now_ns=time.time_ns())

    async def _send(self, record: Record, inspection: Inspection, refusal: tuple[Record, Refused] | None) -> None:
        outgoing = Outgoing(
            topic=INSPECTIONS, key=inspection.station, message=inspection, traceparent=record.traceparent
        )
        if refusal is None:
            await self._producer.send([outgoing])
        else:
            await refuse(*refusal, stage=self._stage, producer=self._producer, also=[outgoing])
