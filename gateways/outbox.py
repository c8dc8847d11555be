"""What a gateway has to send: in memory, and behind that on disk. Which record goes next, and which go to disk.

- Kept records (events, manifests, results): what is on disk is older than what is in memory, and goes first.
- Droppable records (frames, readings): the same, up to a backlog of `IN_FLIGHT_BYTES`, which is what a live frame may have to wait for
  in any case. Behind a longer one it would come too late for its part, so frames in memory go first, and the backlog at a limited rate
  beside them.
- A record that the broker has not taken within `SPOOL_AFTER_S` goes to disk with all behind it, and so do all that follow, until the
  broker takes something again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from gateways.spool import Spool
from gateways.spool_lane import Lane
from schemas.topics import FRAMES, MIB_BYTES, Topic

IN_FLIGHT_BYTES = 8 * MIB_BYTES
"""What may be with the producer at once."""
SPOOL_AFTER_S = 1.0
NEVER_ABOVE = 2
"""Times the budget: where records come faster than the disk takes them."""
KEPT_BYTES = 64 * MIB_BYTES
"""Kept records in memory, where neither broker nor disk takes them: a plant's events of hours. Whoever submits them waits long before."""


class Fate(StrEnum):
    """How a record ended for whoever submitted it.

    `spooled`: on this machine's disk, from where this process or the next sends it. `unknown`: it was under way when the
    gateway stopped, and may have arrived.
    """

    ACKNOWLEDGED = "acknowledged"
    SPOOLED = "spooled"
    DROPPED = "dropped"
    UNKNOWN = "unknown"


@dataclass(slots=True, eq=False)
class Item:
    """A record on its way. `attempt` numbers the producer that had it last, 0 while none had; `number` is its place in the spool."""

    topic: Topic
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    droppable: bool
    tell: Callable[[Fate], None]
    at_ns: int
    since_s: float = field(default_factory=time.monotonic)
    settled: bool = False
    acknowledged: bool = False
    spooling: bool = False
    attempt: int = 0
    number: int | None = None
    size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.size_bytes = len(self.value) + len(self.key) + 200


class ForSpool(NamedTuple):
    """A record to be written to disk; `flying`: it is under way, too."""

    item: Item
    flying: bool


class Outbox:
    """Its methods are called with `condition` held, but for those of the lanes. `budget_bytes` bounds droppable records in memory,
    `KEPT_BYTES` the kept ones; neither costs the other anything."""

    def __init__(self, *, budget_bytes: int, spool: Spool | None) -> None:
        self.condition = threading.Condition()
        self.spool = spool
        self.kept: deque[Item] = deque()
        self.droppable: deque[Item] = deque()
        self.in_flight: dict[Item, None] = {}
        self.spool_fails = False
        self._budget_bytes = budget_bytes
        self._in_flight_bytes = 0
        self._bytes = {True: 0, False: 0}  # by droppable
        self._spooling = {True: 0, False: 0}  # by droppable: how many are being written to disk
        self._away = False
        self._drain_from_s = 0.0

    # --- in memory ---------------------------------------------------------------------------------------------------

    @property
    def bytes(self) -> int:
        """Everything in memory, what is under way included."""
        return self._bytes[True] + self._bytes[False]

    def put(self, item: Item) -> list[Item]:
        """Takes a record in. Returns those of its kind, oldest first, that are given up for it: only where no disk takes them."""
        waiting = self._queue(item.droppable)
        waiting.append(item)
        self._bytes[item.droppable] += item.size_bytes
        dropped: list[Item] = []
        tried: list[Item] = []
        limit_bytes = self._limit_bytes(item.droppable)
        while waiting and self._bytes[item.droppable] > limit_bytes:
            oldest = waiting.popleft()
            if oldest.attempt:
                tried.append(oldest)  # it may have arrived
            else:
                dropped.append(oldest)
                self._bytes[item.droppable] -= oldest.size_bytes
        waiting.extendleft(reversed(tried))
        return dropped

    def next(self, *, now_s: float) -> Item | Lane | None:
        """What to send: a record in memory, the next one of a lane of the spool, or nothing yet.

        While records are on their way to a lane it is not known which of them are still under way: nothing is taken from it then.
        """
        if self._in_flight_bytes >= IN_FLIGHT_BYTES:
            return None
        if not self._spooling[False]:
            if self.spool is not None and self.spool.kept.unread:
                return self.spool.kept
            if self.kept:
                return self.kept[0]
        live, backlog = self._live(), self._backlog()
        if self.droppable and (live or not (backlog or self._spooling[True])):
            return self.droppable[0]
        if self.spool is not None and backlog and not self._spooling[True] and self._may_drain(now_s):
            return self.spool.droppable
        return None

    def hand_over(self, item: Item, *, attempt: int, now_s: float) -> None:
        """`item`, the next one in memory or just read from the spool, is with the producer of number `attempt`."""
        queue = self._queue(item.droppable)
        if queue and queue[0] is item:
            queue.popleft()
        else:
            self._bytes[item.droppable] += item.size_bytes
            if item.droppable and self._limited() and self.spool is not None:
                self._drain_from_s = max(self._drain_from_s, now_s) + item.size_bytes / self.spool.drain_bytes_per_s
        item.attempt = attempt
        item.since_s = now_s
        self.in_flight[item] = None
        self._in_flight_bytes += item.size_bytes

    def acknowledge(self, item: Item, *, attempt: int) -> bool:
        """The broker has `item`. False where that is no news: its producer was given up."""
        if item not in self.in_flight or item.attempt != attempt:
            return False
        del self.in_flight[item]
        self._in_flight_bytes -= item.size_bytes
        self._bytes[item.droppable] -= item.size_bytes
        self._away = False
        item.acknowledged = True
        if item.number is not None and self.spool is not None:
            self.spool.lane(droppable=item.droppable).acknowledge(item.number)
        return True

    def take_back(self) -> None:
        """What a dead producer had is sent again, in its order: from memory, or from the spool if it is there."""
        for item in reversed(self.in_flight):
            if item.number is None and not item.spooling:
                self._queue(item.droppable).appendleft(item)
            else:
                self._bytes[item.droppable] -= item.size_bytes
        if self.spool is not None:
            self.spool.kept.rewind()
            self.spool.droppable.rewind()
        self.in_flight.clear()
        self._in_flight_bytes = 0

    def patience_s(self, *, now_s: float, longest_s: float) -> float:
        """How long to wait at most for something to send."""
        until_drain_s = self._drain_from_s - now_s
        return min(longest_s, until_drain_s) if self._backlog() and until_drain_s > 0 else longest_s

    # --- to the disk -------------------------------------------------------------------------------------------------

    def must_spool(self, *, now_s: float) -> bool:
        """Whether something in memory belongs on disk."""
        oldest_s = min((item.since_s for item in self._eldest()), default=now_s)
        self._away = self._away or now_s - oldest_s > SPOOL_AFTER_S
        return any(self._belongs_on_disk(droppable) for droppable in (False, True))

    def take_for_spool(self, *, everything: bool = False) -> list[ForSpool]:
        """What is to be written to disk now, in order: what is under way first, then what waits."""
        found: list[ForSpool] = []
        for droppable in (False, True):
            if not (everything or self._belongs_on_disk(droppable)):
                continue
            waiting = self._queue(droppable)
            batch = [ForSpool(item, True) for item in self._flying(droppable)]
            batch += [ForSpool(item, False) for item in waiting]
            waiting.clear()
            self._spooling[droppable] += len(batch)
            found += batch
        for item, _ in found:
            item.spooling = True
        return found

    def spooled(self, written: Sequence[ForSpool], numbers: Sequence[int], failed: Sequence[ForSpool]) -> None:
        """`written` are on disk under their `numbers`, `failed` are not and wait on."""
        for (item, was_flying), number in zip(written, numbers, strict=True):
            self._spooling[item.droppable] -= 1
            item.spooling, item.number = False, number
            if not was_flying:
                self._bytes[item.droppable] -= item.size_bytes
            elif self.spool is not None and item.acknowledged:
                self.spool.lane(droppable=item.droppable).acknowledge(number)
            elif self.spool is not None and item not in self.in_flight:
                self.spool.lane(droppable=item.droppable).rewind()  # its producer died meanwhile
        for item, was_flying in reversed(failed):
            self._spooling[item.droppable] -= 1
            item.spooling = False
            if was_flying and item not in self.in_flight and not item.acknowledged:
                self._bytes[item.droppable] += item.size_bytes
            if not item.acknowledged and item not in self.in_flight:
                self._queue(item.droppable).appendleft(item)
        self.condition.notify_all()

    def left(self) -> list[Item]:
        """Everything that is in memory and neither acknowledged nor on disk."""
        return [item for item in (*self.in_flight, *self.kept, *self.droppable) if item.number is None]

    # --- rules -------------------------------------------------------------------------------------------------------

    def _queue(self, droppable: bool) -> deque[Item]:
        return self.droppable if droppable else self.kept

    def _limit_bytes(self, droppable: bool) -> int:
        if not droppable:
            return KEPT_BYTES
        return self._budget_bytes * (1 if self.spool is None or self.spool_fails else NEVER_ABOVE)

    def _flying(self, droppable: bool) -> list[Item]:
        return [
            item for item in self.in_flight if item.droppable is droppable and item.number is None and not item.spooling
        ]

    def _eldest(self) -> list[Item]:
        """The first of everything that waits for the broker."""
        firsts = (next(iter(self.in_flight), None), *(queue[0] for queue in (self.kept, self.droppable) if queue))
        return [item for item in firsts if item is not None]

    def _belongs_on_disk(self, droppable: bool) -> bool:
        if self.spool is None:
            return False
        waiting = bool(self._queue(droppable))
        if self._away or (droppable and self._bytes[True] > self._budget_bytes):
            return waiting or bool(self._flying(droppable))
        queues_up = self.spool.lane(droppable=droppable).unread and not (droppable and self._live())
        return waiting and bool(queues_up)

    def _backlog(self) -> int:
        """Records of the droppable lane to be sent."""
        return 0 if self.spool is None else self.spool.droppable.unread

    def _limited(self) -> bool:
        return self.spool is not None and self.spool.droppable.unread_bytes > IN_FLIGHT_BYTES

    def _live(self) -> bool:
        """Whether what is in memory goes before the backlog. Frames find their part by its id; readings are a series in time."""
        return self._limited() and bool(self.droppable) and self.droppable[0].topic is FRAMES

    def _may_drain(self, now_s: float) -> bool:
        if not self._limited():
            return True
        return now_s >= self._drain_from_s and self._in_flight_bytes < IN_FLIGHT_BYTES // 2
