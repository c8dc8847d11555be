"""What a runner holds: records taken in and not finished, their bytes, and what may be committed of each partition."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from aiokafka import TopicPartition

from schemas.commits import FinishedPrefix
from schemas.telemetry import Stage

COPIES = 2


class Holdings:
    """The holdings of one assignment; a record that finishes after `close` changes nothing any more.

    A record counts twice: its body as it came, which a dead letter would need, and what was decoded from it, image included.
    `on_less` is called when a record was finished, that is, when there is room again.
    """

    def __init__(
        self, *, partitions: frozenset[int], stage: Stage, limit_bytes: int, on_less: Callable[[], None]
    ) -> None:
        self.partitions = partitions
        self.held_bytes = 0
        self._stage = stage
        self._used = stage.budget("held", limit_bytes=limit_bytes)
        self._on_less = on_less
        self._prefixes: dict[TopicPartition, FinishedPrefix] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._open: dict[tuple[TopicPartition, int], tuple[int, float, int]] = {}

    def add(self, place: TopicPartition, offset: int, size_bytes: int, *, count: int = 1) -> Callable[[], None]:
        """A record was taken in, or `count` of them that finish together, the last at `offset`; returns what finishes them."""
        self._prefixes.setdefault(place, FinishedPrefix()).take(offset)
        self._open[place, offset] = (COPIES * size_bytes, time.monotonic(), count)
        self._hold(COPIES * size_bytes)
        return partial(self._finish, place, offset)

    def committable(self) -> dict[TopicPartition, int]:
        """Offsets that may be committed and have not been."""
        return {
            place: prefix.next_offset
            for place, prefix in self._prefixes.items()
            if prefix.next_offset is not None and prefix.next_offset != self._committed.get(place)
        }

    def committed(self, offsets: dict[TopicPartition, int]) -> None:
        """These offsets have been committed."""
        self._committed.update(offsets)

    def close(self) -> None:
        """The partitions are no longer ours: what is open will be read again by their next owner."""
        self._stage.in_progress.dec(sum(count for _, _, count in self._open.values()))
        self._open.clear()
        self._hold(-self.held_bytes)

    def _finish(self, place: TopicPartition, offset: int) -> None:
        held = self._open.pop((place, offset), None)
        if held is None:
            return
        size_bytes, since, count = held
        self._prefixes[place].finish(offset)
        self._hold(-size_bytes)
        self._stage.finished(seconds=time.monotonic() - since, count=count)
        self._on_less()

    def _hold(self, more_bytes: int) -> None:
        self.held_bytes += more_bytes
        self._stage.in_progress_bytes.inc(more_bytes)
        self._used.set(self.held_bytes)
