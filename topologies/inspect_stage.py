"""The inspect stage: frames in, exactly one inspection per frame out, in the order of each camera.

Of recipes with `newest_first`, frames that come too late are deferred (`processors.deferral`): word of it goes out in their place,
and the backfill stage inspects them. Where there is a backfill, it also inspects what a person sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from processors.believed_time import is_skewed
from processors.deferral import Deferral
from processors.frame_checks import check_names
from processors.inspection import CLOCK_SKEW, SEQUENCE_GAP, FramePlace, deferred, dropped_unread
from processors.ledger_frames import REPLAY_MARK
from processors.sequence_watch import SequenceWatch, Sighting
from schemas.codec import frame_owner
from schemas.errors import Refused
from schemas.frames import Frame
from schemas.inspections import Inspection
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.reasons import DropReason
from schemas.settings import KafkaSettings
from schemas.telemetry import DroppedByRule, Noticed, Stage
from schemas.topics import FRAMES, INSPECTIONS
from topologies.background import Background
from topologies.inspection_bench import InspectionBench, Outcome
from topologies.line_runner import LineRunner, Outgoing, Producer, Record, refuse
from topologies.ordered_exit import OrderedExit, Place


async def run(plant: Plant, *, plant_dir: Path, stage: Stage, stop: asyncio.Event) -> None:
    """Inspects frames until `stop` is set and everything is drained. Raises Fatal for configuration."""
    bench = InspectionBench(plant=plant, plant_dir=plant_dir, stage=stage)
    inspector = Inspector(plant=plant, bench=bench, stage=stage)
    runner = LineRunner(
        plant=plant,
        stage=stage,
        topics=(FRAMES,),
        handler=inspector,
        kafka=KafkaSettings(),
        ready=lambda: bench.ready,
    )
    try:
        await runner.run(stop)
    finally:
        await inspector.close()
        await bench.close()


class _ComesTooLate(Exception):
    """The frame is left to the backfill."""


class Inspector:
    """The stage as the line runner drives it: one task per frame, results in the order of their camera."""

    def __init__(self, *, plant: Plant, bench: InspectionBench, stage: Stage) -> None:
        self._plant = plant
        self._bench = bench
        self._stage = stage
        self._deferral = Deferral()
        self._work = Background()
        self._order = OrderedExit()
        self._watch = SequenceWatch()
        self._clocks_off: set[tuple[str, str]] = set()
        self._producer: Producer

    async def assigned(self, partitions: frozenset[int], producer: Producer) -> None:
        """Nothing to prepare: a frame stands for itself."""
        self._producer = producer

    async def take(self, record: Record) -> None:
        """Starts the work on a frame."""
        frame: Frame = record.message
        try:
            check_names(frame)
        except Refused as refused:
            self._work.spawn(self._refuse_unnamed(record, refused))
            return
        sighting = self._watch.note(camera=frame.camera, session=frame.session, sequence=frame.sequence)
        if sighting.duplicate:
            self._stage.emit(Noticed(what="duplicate", subject=frame.id))
            record.finish()
            return
        place = _place(record)
        warnings = self._gap_before(sighting, camera=frame.camera, session=frame.session)
        if is_skewed(frame.captured_at_ns, place.received_at_ns):
            warnings.append(CLOCK_SKEW)
            self._notice_clock(frame, place)
        self._work.spawn(self._inspect(record, frame, place, warnings, self._order.enter(frame.camera)))

    async def tick(self, now_ns: int) -> None:
        """Raises what went wrong in a task."""
        self._work.check()
        self._bench.check()

    async def refused(self, record: Record, refused: Refused) -> Sequence[Outgoing]:
        """A frame whose body cannot be read is accounted for by its headers, in its place."""
        owner = frame_owner(record.headers)
        if owner is None:
            return ()
        sighting = self._watch.note(camera=owner.camera, session=owner.session, sequence=owner.sequence)
        if sighting.duplicate:  # the frame has its inspection; a second one would contradict it
            return ()
        warnings = self._gap_before(sighting, camera=owner.camera, session=owner.session)
        exit_place = self._order.enter(owner.camera)
        try:
            await exit_place.turn()
            inspection = dropped_unread(owner, _place(record), refused, warnings=warnings, now_ns=time.time_ns())
            sending = asyncio.create_task(self._producer.send([_outgoing(inspection, record)]))
        finally:
            exit_place.leave()
        await sending
        return ()

    async def drain(self, partitions: frozenset[int]) -> None:
        """Ends the work on all frames; what a deadline cuts short is read again by the next owner."""
        try:
            await self._work.settled()
        finally:
            await self._work.cancel()
            self._order = OrderedExit()
            self._watch = SequenceWatch()

    async def close(self) -> None:
        """Ends every task."""
        await self._work.cancel()

    async def _inspect(
        self, record: Record, frame: Frame, place: FramePlace, warnings: list[str], exit_place: Place
    ) -> None:
        try:
            inspection, refused = await self._outcome(frame, place, warnings)
            await exit_place.turn()
            # a task of its own, so that the next frame of this camera need not wait for the acknowledgement of this one
            sending = asyncio.create_task(self._send(record, inspection, refused))
        finally:
            exit_place.leave()
        await sending
        record.finish()
        self._bench.offer_to_shadow(frame, inspection)

    async def _outcome(self, frame: Frame, place: FramePlace, warnings: list[str]) -> Outcome:
        if self._plant.defers_frames and REPLAY_MARK in frame.session:
            return self._deferred(frame, place, warnings, "sent again by a person")
        recipe = self._plant.recipe(frame.recipe)
        if recipe is None or recipe.overload != "newest_first" or recipe.deadline_ms is None:
            return await self._bench.inspect(frame, place, warnings=warnings)
        begin = partial(self._begin, place, recipe.deadline_ms)
        try:
            return await self._bench.inspect(
                frame,
                place,
                warnings=warnings,
                begin=begin,
                waits_until_ns=place.received_at_ns + recipe.deadline_ms * NS_PER_MS,
            )
        except _ComesTooLate as late:
            return self._deferred(frame, place, warnings, str(late))

    def _begin(self, place: FramePlace, deadline_ms: int) -> None:
        """Asked when a frame's turn comes, for it may have waited for longer than its deadline. Raises _ComesTooLate."""
        age_ms = (time.time_ns() - place.received_at_ns) / NS_PER_MS
        if self._deferral.defers(age_ms=age_ms, deadline_ms=deadline_ms):
            raise _ComesTooLate(f"{age_ms:.0f} ms old, its deadline is {deadline_ms} ms")

    def _deferred(self, frame: Frame, place: FramePlace, warnings: list[str], detail: str) -> Outcome:
        self._stage.emit(DroppedByRule(reason=DropReason.DEFERRED, subject=frame.id, detail=detail))
        return deferred(frame, place, detail=detail, warnings=warnings, now_ns=time.time_ns()), None

    async def _refuse_unnamed(self, record: Record, refused: Refused) -> None:
        await refuse(record, refused, stage=self._stage, producer=self._producer)
        record.finish()

    async def _send(self, record: Record, inspection: Inspection, refused: Refused | None) -> None:
        outgoing = _outgoing(inspection, record)
        if refused is None:
            await self._producer.send([outgoing])
        else:
            await refuse(record, refused, stage=self._stage, producer=self._producer, also=[outgoing])

    def _gap_before(self, sighting: Sighting, *, camera: str, session: str) -> list[str]:
        """The warning that frames are missing before this one, noticed; nothing where none are."""
        if sighting.missing is None:
            return []
        first, last = sighting.missing
        told = f"{first} to {last} are missing"
        self._stage.emit(Noticed(what=SEQUENCE_GAP, subject=f"{camera}/{session}", detail=told))
        return [SEQUENCE_GAP]

    def _notice_clock(self, frame: Frame, place: FramePlace) -> None:
        """Said once per camera and session: every frame carries the warning itself."""
        session = (frame.camera, frame.session)
        if session in self._clocks_off:
            return
        self._clocks_off = {known for known in self._clocks_off if known[0] != frame.camera} | {session}
        off_s = (frame.captured_at_ns - place.received_at_ns) / 1e9
        self._stage.emit(
            Noticed(
                what=CLOCK_SKEW, subject=f"{frame.camera}/{frame.session}", detail=f"its clock is {off_s:+.0f} s off"
            )
        )


def _place(record: Record) -> FramePlace:
    return FramePlace(partition=record.partition, offset=record.offset, received_at_ns=record.at_ms * NS_PER_MS)


def _outgoing(inspection: Inspection, record: Record) -> Outgoing:
    return Outgoing(topic=INSPECTIONS, key=inspection.station, message=inspection, traceparent=record.traceparent)
