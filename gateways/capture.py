"""One camera at a station: a picture of each view for each arrival, published in the order of the arrivals.

Every picture that is owed has a sequence from the start. What cannot be taken or delivered is named in the manifest,
so that a missing picture is a statement and never a silence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from gateways.framing import Framer, Subject, digest_of
from gateways.manifests import ManifestBook
from gateways.outbox import Fate
from gateways.picture_source import CameraSource, CaptureFailed, Picture, TooLate, Trigger
from gateways.publisher import RecordPublisher
from schemas.errors import Transient
from schemas.reasons import DropReason
from schemas.telemetry import AttemptRepeated, DroppedByRule, Stage
from schemas.topics import FRAMES

PICTURES_AT_ONCE = 8
OPEN_PICTURES = 512
"""Pictures that one camera may owe; a PLC that reports arrivals faster than any camera works cannot fill the memory."""


@dataclass(slots=True, kw_only=True)
class _Shot:
    """A picture that is owed."""

    sequence: int
    subject: Subject
    view: str
    trigger: Trigger


class CameraCapture:
    """Takes and publishes the pictures of one camera. `useful_for_s`: how long after the arrival a picture is worth taking.

    `refuse_repeats`: a picture that is byte for byte the last one of a view shows what was before the camera then, and is not published.
    """

    def __init__(
        self,
        *,
        camera: str,
        source: CameraSource,
        framer: Framer,
        book: ManifestBook,
        publisher: RecordPublisher,
        stage: Stage,
        useful_for_s: float,
        refuse_repeats: bool,
    ) -> None:
        self._camera = camera
        self._refuse_repeats = refuse_repeats
        self._last_digests: dict[str, str] = {}
        self._source = source
        self._framer = framer
        self._book = book
        self._publisher = publisher
        self._stage = stage
        self._useful_for_s = useful_for_s
        self._slots = asyncio.Semaphore(PICTURES_AT_ONCE)
        self._owed: asyncio.Queue[tuple[_Shot, asyncio.Task[Picture]]] = asyncio.Queue()
        self._failed_in_a_row = 0

    def take(self, subject: Subject, views: Sequence[str], trigger: Trigger) -> None:
        """Begins to take the pictures of a part that came with `trigger`: too long ago, and they are named as expired.

        To be called for every trigger, with no views where the part is none for this camera.
        """
        self._source.triggered(trigger, wanted=bool(views))
        for view in views:
            shot = _Shot(sequence=self._book.take_sequence(), subject=subject, view=view, trigger=trigger)
            self._stage.taken("arrivals", at_ms=time.time_ns() // 1_000_000)
            if self._owed.qsize() >= OPEN_PICTURES:
                self._drop(shot, DropReason.CAPTURE_FAILED, f"{OPEN_PICTURES} pictures are owed already")
            else:
                self._owed.put_nowait((shot, asyncio.create_task(self._shoot(shot))))

    async def run(self) -> None:
        """Publishes what was taken, in order; ends by cancellation."""
        while True:
            shot, picture = await self._owed.get()
            try:
                await self._deliver(shot, await picture)
            except TooLate as error:
                self._drop(shot, DropReason.EXPIRED, str(error))
            except CaptureFailed as error:
                self._drop(shot, DropReason.CAPTURE_FAILED, str(error))
            except asyncio.CancelledError:
                self._owed.put_nowait((shot, picture))
                raise
            finally:
                # held until here, so that at most this many pictures are in memory
                self._slots.release()
                self._owed.task_done()

    async def finish(self, *, within_s: float) -> None:
        """Lets `run` publish what is owed for `within_s`; for use before it is cancelled."""
        try:
            async with asyncio.timeout(within_s):
                await self._owed.join()
        except TimeoutError:
            pass

    def give_up(self) -> None:
        """Names what is still owed as dropped, after `run` was cancelled."""
        pending = sorted(
            (self._owed.get_nowait() for _ in range(self._owed.qsize())), key=lambda owed: owed[0].sequence
        )
        for shot, picture in pending:
            picture.cancel()
            self._drop(shot, DropReason.CAPTURE_FAILED, "the gateway stopped")

    async def _shoot(self, shot: _Shot) -> Picture:
        waits = self._slots.locked()
        await self._slots.acquire()
        if time.monotonic() - shot.trigger.seen_s > self._useful_for_s:
            raise TooLate(f"more than {self._useful_for_s:g} s after the arrival")
        if not (shot.trigger.fresh or self._source.keeps_triggers):
            raise TooLate("the camera exposes when asked, and the part may have moved on")
        if waits and not self._source.keeps_triggers:
            raise TooLate(f"{PICTURES_AT_ONCE} pictures were on their way already, and the part has moved on")
        try:
            picture = await self._source.capture(view=shot.view, trigger=shot.trigger)
        except TooLate:
            raise
        except CaptureFailed as error:
            # once a picture, not once a request: a picture that its camera has not ready yet is asked for many times
            self._failed_in_a_row += 1
            detail = f"{self._camera}: {error}"
            self._stage.emit(AttemptRepeated(service="camera", detail=detail, attempt=self._failed_in_a_row))
            raise
        self._failed_in_a_row = 0
        return picture

    async def _deliver(self, shot: _Shot, picture: Picture) -> None:
        sha256 = await digest_of(picture.image)
        if self._repeats(shot, sha256) and self._refuse_repeats:
            self._drop(shot, DropReason.REPEATED_PICTURE, "byte for byte one before it: the camera repeats itself")
            return
        try:
            frame = await self._framer.frame(
                picture.image,
                subject=shot.subject,
                view=shot.view,
                sequence=shot.sequence,
                captured_at_ns=picture.captured_at_ns,
                store_within_s=self._useful_for_s,
                sha256=sha256,
            )
        except Transient as error:
            self._drop(shot, DropReason.EXPIRED, str(error))
            return
        self._publisher.submit(FRAMES, self._camera, frame, tell=partial(self._settle, shot), droppable=True)

    def _repeats(self, shot: _Shot, sha256: str) -> bool:
        """Whether one of the views' last pictures was the same; this one is remembered in any case.

        Of any view: a camera that hangs shows what it took last, and is asked for another view next.
        """
        repeats = sha256 in self._last_digests.values()
        self._last_digests[shot.view] = sha256
        return repeats

    def _settle(self, shot: _Shot, fate: Fate) -> None:
        if fate is Fate.DROPPED:
            self._drop(shot, DropReason.BROKER_AWAY, "more waits than may be kept in memory")
        elif fate is not Fate.UNKNOWN:
            self._book.acknowledged(shot.sequence)
            self._stage.finished(seconds=time.monotonic() - shot.trigger.seen_s)

    def _drop(self, shot: _Shot, reason: DropReason, detail: str) -> None:
        self._book.dropped(shot.sequence, reason)
        subject = f"{self._camera}/{shot.view}/{shot.subject.part_id}"
        self._stage.emit(DroppedByRule(reason=reason, subject=subject, detail=detail))
        self._stage.finished(seconds=time.monotonic() - shot.trigger.seen_s)
