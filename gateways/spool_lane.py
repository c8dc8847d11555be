"""One lane of a spool: numbered records in the order in which they were appended, in segment files.

Records are taken from the front and acknowledged in any order; a segment is deleted when all of it was acknowledged. What was
taken and not acknowledged comes again after `rewind`, and after a restart, in the same order.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from typing import NamedTuple

from gateways.segment import HEADER_BYTES, Damaged, Envelope, Record, Segment, sync_folder
from schemas.errors import ConfigurationError

SUFFIX = ".seg"
UNFINISHED = ".rewritten"


class Taken(NamedTuple):
    """A record on its way, with its number in its lane."""

    number: int
    record: Record


class Lane:
    """The lane `name` of a folder. One thread appends, gives up and reclaims, one takes; any may acknowledge.

    A new segment begins at `segment_bytes`, or when the one before is `span_ns` old. `acknowledged`: the number of the first
    record that was not acknowledged; `claimed`: first numbers of segments of which something may have been sent.
    Raises ConfigurationError for segments of another version, OSError.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        segment_bytes: int,
        span_ns: int,
        acknowledged: int = 0,
        claimed: frozenset[int] = frozenset(),
    ) -> None:
        self.name = name
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._span_ns = span_ns
        self._lock = threading.RLock()
        self._segments: deque[Segment] = deque()
        self._replaced: list[Segment] = []  # somebody may still be reading in them
        self._active: Segment | None = None
        self._failing = False  # the active segment could not be synced
        self._flying: set[int] = set()
        self._done: set[int] = set()  # acknowledged before an older one
        self._cursor = 0
        self._offset = HEADER_BYTES
        self._held = 0  # records at or above `acknowledged`, those that are done among them
        self.unread_bytes = 0
        """Of the records to be taken; too many rather than too few where some behind the first one were acknowledged."""
        self.torn_bytes = 0
        self.damaged = 0
        """Records and ends of segments that were not as they had been written."""
        self._open_segments()
        self.acknowledged = acknowledged
        self._next = max([acknowledged, *(segment.stop for segment in self._segments)])
        self.claimed = {segment.first for segment in self._segments if segment.first in claimed}
        self._skip_gaps()
        self._held = self._count()
        self.reclaim()
        self.rewind()

    # --- what is in it -----------------------------------------------------------------------------------------------

    @property
    def next_number(self) -> int:
        """The number that the next record gets."""
        return self._next

    @property
    def size_bytes(self) -> int:
        """Of its files."""
        with self._lock:
            return sum(segment.end for segment in self._segments)

    @property
    def records(self) -> int:
        """How many are not acknowledged."""
        with self._lock:
            return self._held - len(self._done)

    @property
    def unread(self) -> int:
        """How many are neither acknowledged nor under way. Asked before every record that is sent: it waits for no disk."""
        return self._held - len(self._done) - len(self._flying)

    @property
    def oldest_ns(self) -> int | None:
        """When the first record of the oldest segment was submitted; None for an empty lane."""
        with self._lock:
            return next((segment.oldest_ns for segment in self._segments if segment.count), None)

    def waiting(self) -> list[Record]:
        """All records that were not acknowledged, in order, without taking them; damaged ones are left out."""
        found = []
        for segment in list(self._segments):
            offset = HEADER_BYTES
            for number in range(segment.first, segment.stop):
                if number >= self.acknowledged:
                    try:
                        found.append(segment.read(offset))
                    except Damaged:
                        pass  # counted when it is taken
                offset = segment.following(offset)
        return found

    # --- appending ---------------------------------------------------------------------------------------------------

    def append(self, envelope: Envelope, value: bytes, *, attempted: bool = False, flying: bool = False) -> int:
        """Appends a record and returns its number. `attempted`: it may have been sent already; `flying`: it is under way.

        Raises OSError; nothing was appended then.
        """
        segment = self._writable(envelope.at_ns)
        size_bytes = segment.append(envelope, value)
        with self._lock:
            number, self._next = self._next, self._next + 1
            if attempted:
                self.claimed.add(segment.first)
            self._held += 1
            if flying:
                self._flying.add(number)
            else:
                self.unread_bytes += size_bytes
        return number

    def claim(self, *, at_ns: int) -> None:
        """The segment that a record of `at_ns` goes to may hold something that was sent. Raises OSError."""
        segment = self._writable(at_ns)
        with self._lock:
            self.claimed.add(segment.first)

    def sync(self) -> None:
        """Returns when everything that was appended is on the disk. Raises OSError; nothing is known to be there then.

        A file whose sync failed is not trusted again: Linux reports such a failure once, and may call the lost pages clean
        (https://wiki.postgresql.org/wiki/Fsync_Errors). Its records are written again, under their numbers, to another.
        """
        if self._active is None:
            return
        if not self._failing:
            try:
                self._active.sync()
            except OSError:
                self._failing = True
        if self._failing:
            self._write_again(self._active)

    def _write_again(self, failed: Segment) -> None:
        first = failed.stop - len(failed.unsynced)
        unfinished = self._folder / f"{self.name}{UNFINISHED}"
        unfinished.unlink(missing_ok=True)
        fresh = Segment.create(unfinished, first=first)
        try:
            for record in failed.unsynced:
                fresh.append(*record)
            fresh.sync()
            fresh.path = unfinished.replace(self._path(first))
            sync_folder(self._folder)
        except OSError:
            fresh.close()
            raise
        with self._lock:
            failed.clip(first)
            if not failed.count:
                self._segments.remove(failed)
                self._replaced.append(failed)
            self._segments.append(fresh)
            if failed.first in self.claimed:
                self.claimed.add(first)
            if self._cursor > first:
                self._seek(self._cursor)
            self._active, self._failing = fresh, False

    def _path(self, first: int) -> Path:
        return self._folder / f"{self.name}-{first:020}{SUFFIX}"

    def _writable(self, now_ns: int) -> Segment:
        if self._failing:
            self.sync()
        active = self._active
        if active is not None and (
            active.end >= self._segment_bytes or (active.count and now_ns - active.oldest_ns > self._span_ns)
        ):
            self.sync()
            self._active = active = None
        if active is None:
            active = Segment.create(self._path(self._next), first=self._next)
            with self._lock:
                self._segments.append(active)
                self._active = active
        return active

    # --- taking and acknowledging ------------------------------------------------------------------------------------

    def take(self) -> Taken | None:
        """The oldest record that is neither under way nor acknowledged; None where there is none. Damaged ones are passed over.

        Raises OSError where it cannot be read; it is the next one still.
        """
        while (found := self._step()) is not None:
            number, segment, offset = found
            try:
                return Taken(number, segment.read(offset))
            except Damaged:
                if self._segment_of(number) is not segment:
                    self.put_back(number)  # written again meanwhile
                elif (record := segment.remembered(number)) is not None:
                    return Taken(number, record)
                else:
                    self.pass_over(number)
            except OSError:
                self.put_back(number)
                raise
        return None

    def put_back(self, number: int) -> None:
        """The record that was just taken is not sent, and is the next one again."""
        with self._lock:
            self._flying.discard(number)
            self._seek(number)

    def pass_over(self, number: int) -> None:
        """A record cannot be sent, now or later."""
        self.damaged += 1
        self.acknowledge(number)

    def acknowledge(self, number: int) -> None:
        """A record needs not be sent any more."""
        with self._lock:
            self._flying.discard(number)
            if number >= self.acknowledged:
                self._done.add(number)
                self._skip_gaps()

    def rewind(self) -> None:
        """What was taken and not acknowledged comes again."""
        with self._lock:
            self._flying.clear()
            self._seek(self.acknowledged)

    def _step(self) -> tuple[int, Segment, int] | None:
        """Moves behind the next record to take, and says where it is."""
        with self._lock:
            while self._cursor < self._next:
                segment = self._segment_at(self._cursor)
                if segment is None:
                    self._cursor = self._next
                    break
                if self._cursor <= segment.first:  # the next segment, perhaps behind a gap: given up, or torn off
                    self._cursor, self._offset = segment.first, HEADER_BYTES
                number, offset = self._cursor, self._offset
                self._cursor += 1
                self._offset = segment.following(offset)
                if number < self.acknowledged or number in self._flying or number in self._done:
                    continue  # appended while it was under way
                self._flying.add(number)
                self.claimed.add(segment.first)
                self.unread_bytes -= segment.following(offset) - offset
                return number, segment, offset
            self.unread_bytes = 0
            return None

    def _segment_of(self, number: int) -> Segment | None:
        with self._lock:
            return self._segment_at(number)

    def _count(self) -> int:
        return sum(max(0, segment.stop - max(segment.first, self.acknowledged)) for segment in self._segments)

    def _segment_at(self, number: int) -> Segment | None:
        """The segment that holds `number`, or the first one behind it."""
        return next((segment for segment in self._segments if segment.stop > number), None)

    def _seek(self, number: int) -> None:
        """The next record to take is `number`, or the first one behind it."""
        self._cursor, self._offset = number, HEADER_BYTES
        self.unread_bytes = 0
        segment = self._segment_at(number)
        if segment is None:
            if self._segments:  # the last one may grow
                self._offset = self._segments[-1].end
            return
        for _ in range(segment.first, number):
            self._offset = segment.following(self._offset)
        behind = sum(later.end - HEADER_BYTES for later in self._segments if later.first > segment.first)
        self.unread_bytes = segment.end - self._offset + behind

    def _skip_gaps(self) -> None:
        """Moves `acknowledged` over what is acknowledged, and over numbers that no segment holds."""
        while self.acknowledged < self._next:
            if self.acknowledged in self._done:
                self._done.remove(self.acknowledged)
                self._held -= 1
                self.acknowledged += 1
                continue
            segment = self._segment_at(self.acknowledged)
            first = self._next if segment is None else segment.first
            if first <= self.acknowledged:
                return
            self.acknowledged = first

    # --- making room -------------------------------------------------------------------------------------------------

    def reclaim(self) -> None:
        """Deletes the segments that were acknowledged as a whole."""
        with self._lock:
            gone = [
                segment
                for segment in self._segments
                if (segment.count and segment.stop <= self.acknowledged)
                or (not segment.count and segment is not self._active)
            ]
            for segment in gone:
                self._forget(segment)
        for segment in gone:
            segment.close()
            segment.path.unlink()

    def oldest_unclaimed(self) -> Segment | None:
        """The oldest segment of which nothing can have been sent."""
        with self._lock:
            return next(
                (segment for segment in self._segments if segment.count and segment.first not in self.claimed), None
            )

    def give_up(self, segment: Segment) -> bool:
        """Takes a segment out, its file aside; False where something of it was sent meanwhile."""
        with self._lock:
            if segment.first in self.claimed:
                return False
            self._forget(segment)
            self._skip_gaps()
            self._held = self._count()
            if self._cursor < segment.stop:
                self._seek(max(self._cursor, self.acknowledged))
            return True

    def close(self) -> None:
        """Closes its files."""
        with self._lock:
            for segment in (*self._segments, *self._replaced):
                segment.close()
            self._segments.clear()
            self._active = None

    def _forget(self, segment: Segment) -> None:
        self._segments.remove(segment)
        self.claimed.discard(segment.first)
        if segment is self._active:
            self._active, self._failing = None, False

    def _open_segments(self) -> None:
        paths = sorted(self._folder.glob(f"{self.name}-*{SUFFIX}"))
        for path in paths:
            newest = path == paths[-1]
            first = _first_of(path)
            segment, torn_bytes = Segment.open(path, first=first, verify=newest)
            if newest:
                self.torn_bytes = torn_bytes
            elif torn_bytes:
                self.damaged += 1
            self._cut_overlap(first)
            self._segments.append(segment)

    def _cut_overlap(self, first: int) -> None:
        """A segment that begins inside the one before has what could not be synced there."""
        before = self._segments[-1] if self._segments else None
        if before is not None and before.stop > first:
            before.clip(first)


def _first_of(path: Path) -> int:
    """The number of a segment's first record, by its name. Raises ConfigurationError for a copy that somebody put beside it."""
    number = path.stem.rpartition("-")[2]
    if not number.isdecimal():
        raise ConfigurationError(f"{path} has no number in its name, as segments of a spool have: move it away")
    return int(number)
