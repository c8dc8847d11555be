"""The disk spool of one gateway: what Kafka has not taken, in order, in a folder of its own.

Two lanes: `droppable` (frames, readings), which a bound may shorten from its old end by whole segments, and `kept` (events,
manifests, results), which no bound ever shortens.

**What is on disk when.** Records are written at once and synced (`fdatasync`) together, every `LINESIGHT_SPOOL_SYNC_MS`; only then is a
record called spooled. A killed process loses nothing that was written; a machine that loses power, at most what came after the
last sync. What was acknowledged stands in `position.json`, written with each sync where it changed: after a crash some records
are sent twice, with the same ids. Deleted segments are not synced; they come back as acknowledged ones.

**What may be given up.** Only segments of which nothing can have been sent: before the first record of a segment is taken, the
segment is named in `position.json`. So a frame that a manifest calls dropped never reached the topic.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from gateways.segment import HEADER_BYTES, Envelope, Segment, sync_folder
from gateways.spool_lane import Lane, Taken
from schemas.errors import ConfigurationError
from schemas.reasons import DropReason
from schemas.settings import SpoolSettings, StageSettings
from schemas.telemetry import Noticed, Stage
from schemas.topics import MIB_BYTES

SEGMENT_BYTES = {"droppable": 64 * MIB_BYTES, "kept": 4 * MIB_BYTES}
LEAST_SEGMENTS = 16
"""A bound holds at least as many segments, so that giving one up is a small part of it."""
SPANS = 24
POSITION = "position.json"
LOCK = "lock"
GIVEN_UP = (DropReason.SPOOL_FULL, DropReason.SPOOL_EXPIRED)


class NoRoom(OSError):
    """The spool's own bound, or the share of the disk that it leaves free, is reached, and nothing may be given up."""


class GivenUp(NamedTuple):
    """A segment that was taken out: why, and what of. The file stays until `Spool.forget`, so that no crash makes it silent."""

    reason: DropReason
    path: Path
    envelopes: list[Envelope]


class _Position(msgspec.Struct, forbid_unknown_fields=True):
    """What `position.json` says of each lane: the first number not acknowledged, and the segments that may have been sent."""

    acknowledged: dict[str, int] = {}
    claimed: dict[str, list[int]] = {}


class Spool:
    """Opens the spool in `folder`, and takes up what a former life left. Raises ConfigurationError, OSError.

    One thread writes (`append`, `sync`, `give_up`, `reclaim`), one takes; any may acknowledge.
    """

    def __init__(self, folder: Path, *, settings: SpoolSettings) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.limit_bytes = settings.max_mib * MIB_BYTES
        self.drain_bytes_per_s = settings.drain_mib_per_s * MIB_BYTES
        self.sync_s = settings.sync_ms / 1000
        self._max_age_ns = int(settings.max_age_h * 3_600_000_000_000)
        self._keep_free_ratio = settings.keep_free_percent / 100
        self._position_lock = threading.Lock()
        self._lock_file = _lock(folder)
        self._written = _read_position(folder / POSITION)
        try:
            self.droppable = self._lane("droppable")
            self.kept = self._lane("kept")
        except BaseException:
            os.close(self._lock_file)
            raise
        self.left_over_to = self.kept.next_number
        """Records of the lane `kept` with lower numbers were left by a former life."""

    def lane(self, *, droppable: bool) -> Lane:
        """The lane of records that are, or are not, droppable."""
        return self.droppable if droppable else self.kept

    @property
    def size_bytes(self) -> int:
        """Of all segments."""
        return self.droppable.size_bytes + self.kept.size_bytes

    @property
    def records(self) -> int:
        """How many are not acknowledged."""
        return self.droppable.records + self.kept.records

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest segment's first record was submitted; None where there is none."""
        return min((at for lane in (self.droppable, self.kept) if (at := lane.oldest_ns) is not None), default=None)

    def has_room(self, size_bytes: int) -> bool:
        """Whether so much more is within the bound, and leaves the share of the disk free that is to stay free."""
        disk = os.statvfs(self.folder)
        free_bytes = disk.f_bavail * disk.f_frsize - size_bytes
        return (
            self.size_bytes + size_bytes <= self.limit_bytes
            and free_bytes >= self._keep_free_ratio * disk.f_blocks * disk.f_frsize
        )

    def append(
        self,
        envelope: Envelope,
        value: bytes,
        *,
        droppable: bool,
        attempted: bool = False,
        flying: bool = False,
        freed_bytes: int = 0,
    ) -> int:
        """Writes a record; it is on disk after `sync`. Returns its number in its lane. Raises `NoRoom`, OSError.

        `attempted`: it may have been sent already. `flying`: it is under way now. `freed_bytes`: what goes for it.
        """
        if not self.has_room(len(value) - freed_bytes):
            raise NoRoom(
                f"{self.folder} holds {self.size_bytes >> 20} of {self.limit_bytes >> 20} MiB, or the disk is full"
            )
        lane = self.lane(droppable=droppable)
        if attempted:
            lane.claim(at_ns=envelope.at_ns)
            self._save_claims(lane)
        return lane.append(envelope, value, attempted=attempted, flying=flying)

    def sync(self) -> None:
        """Returns when everything appended is on disk: frames first, so that no manifest is there before what it tells of.

        Raises OSError; nothing may be called spooled then.
        """
        self.droppable.sync()
        self.kept.sync()
        self._write_position()

    def take(self, lane: Lane) -> Taken | None:
        """The next record of `lane` to send. That its segment may have been sent is on disk before.

        Raises OSError where it cannot be; the record is the next one still.
        """
        taken = lane.take()
        if taken is None:
            return None
        try:
            self._save_claims(lane)
        except OSError:
            lane.put_back(taken.number)
            raise
        return taken

    def reclaim(self) -> None:
        """Deletes what was acknowledged."""
        self.droppable.reclaim()
        self.kept.reclaim()

    def restore(self) -> int:
        """Puts back what somebody deleted while it was in use (a clean-up job, a hand): folder, lock, segments; how many segments.

        For the thread that writes. Raises OSError, or ConfigurationError where another process has taken the folder meanwhile.
        """
        if not (self.folder / LOCK).exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            former, self._lock_file = self._lock_file, _lock(self.folder)
            os.close(former)
        if not (self.folder / POSITION).exists():
            self._written = _Position()  # with the next sync
        return self.droppable.restore() + self.kept.restore()

    # --- bounds ------------------------------------------------------------------------------------------------------

    def give_up(self, *, now_ns: int, more_bytes: int = 0) -> GivenUp | None:
        """Takes the oldest droppable segment out that may be, where the spool is over its bounds; one at a time, to be named."""
        while (segment := self.droppable.oldest_unclaimed()) is not None:
            if now_ns - segment.newest_ns > self._max_age_ns:
                reason = DropReason.SPOOL_EXPIRED
            elif not self.has_room(more_bytes):
                reason = DropReason.SPOOL_FULL
            else:
                return None
            if self.droppable.give_up(segment):
                segment.path.rename(aside := segment.path.with_suffix(f".{reason}"))
                envelopes = list(_envelopes(segment))
                segment.close()
                return GivenUp(reason, aside, envelopes)
        return None

    def unnamed(self) -> Iterator[GivenUp]:
        """What a former life gave up and may not have named."""
        for reason in GIVEN_UP:
            for path in sorted(self.folder.glob(f"*.{reason}")):
                segment, _ = Segment.open(path, first=0, verify=False)
                yield GivenUp(reason, path, list(_envelopes(segment)))
                segment.close()

    def forget(self, given_up: GivenUp) -> None:
        """What was given up has been named durably."""
        given_up.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Lets go of the folder."""
        with suppress(OSError):  # what was acknowledged since is sent again, with the same ids
            self._write_position()
        self.droppable.close()
        self.kept.close()
        os.close(self._lock_file)

    # --- the position ------------------------------------------------------------------------------------------------

    def _lane(self, name: str) -> Lane:
        return Lane(
            self.folder,
            name,
            segment_bytes=min(SEGMENT_BYTES[name], self.limit_bytes // LEAST_SEGMENTS),
            span_ns=self._max_age_ns // SPANS,
            acknowledged=self._written.acknowledged.get(name, 0),
            claimed=frozenset(self._written.claimed.get(name, ())),
        )

    def _save_claims(self, lane: Lane) -> None:
        if lane is self.kept:
            return  # never given up, so it needs no claim, and is sent from a disk that takes nothing
        if not lane.claimed <= set(self._written.claimed.get(lane.name, ())):
            self._write_position()

    def _write_position(self) -> None:
        with self._position_lock:
            lanes = (self.droppable, self.kept)
            position = _Position(
                acknowledged={lane.name: lane.acknowledged for lane in lanes},
                claimed={lane.name: sorted(frozenset(lane.claimed)) for lane in lanes},
            )
            if position == self._written:
                return
            unfinished = self.folder / f"{POSITION}.new"
            with unfinished.open("wb") as file:
                file.write(msgspec.json.encode(position))
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.folder / POSITION)
            sync_folder(self.folder)
            self._written = position


def open_spool(*, plant: str, stage: Stage) -> Spool | None:
    """The spool of this process; None, with a notice, where its folder cannot be used: memory is all there is then.

    Raises ConfigurationError where another process has it, or a newer Linesight wrote it.
    """
    settings = SpoolSettings()
    folder = settings.folder / plant / f"{stage.name}-{StageSettings().instance}"
    try:
        spool = Spool(folder.absolute(), settings=settings)
    except OSError as error:
        stage.emit(Noticed(what="spool_not_written", subject=str(folder), detail=repr(error)))
        return None
    for lane in (spool.droppable, spool.kept):
        if lane.torn_bytes:
            detail = f"{lane.torn_bytes} bytes at the end were no whole record"
            stage.emit(Noticed(what="spool_torn_tail", subject=lane.name, detail=detail))
    return spool


def _envelopes(segment: Segment) -> Iterator[Envelope]:
    offset = HEADER_BYTES
    for _ in range(segment.count):
        envelope = segment.envelope(offset)
        if envelope is not None:
            yield envelope
        offset = segment.following(offset)


def _lock(folder: Path) -> int:
    """Makes sure that no other process uses the folder, until the returned file is closed or the process ends."""
    file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        os.close(file)
        raise ConfigurationError(
            f"another process uses the spool {folder}: give each process of a stage its own LINESIGHT_INSTANCE"
        ) from taken
    return file


def _read_position(path: Path) -> _Position:
    """What the file says; nothing where there is none or it is damaged: everything is sent again then."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Position)
    except (FileNotFoundError, msgspec.DecodeError):
        return _Position()
