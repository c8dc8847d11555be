"""Readings of the log that something late asks for (a review of last week): one at a time, beside the live figures.

What is asked for while a reading of its partition waits is added to that one, so that no more wait than there are partitions. The
records that asked are finished by who takes what was read, and not before: after a crash they are read again, and ask again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")
Found = TypeVar("Found")
Finish = Callable[[], None]


@dataclass(slots=True)
class Owed:
    """Records that are finished when each of several was done with them."""

    finishes: list[Finish] = field(default_factory=list)
    shares: int = 0

    def share(self) -> Finish:
        """One more who has to be done with them, which calling the answer says."""
        self.shares += 1
        return self._one_is_done

    def _one_is_done(self) -> None:
        self.shares -= 1
        if self.shares == 0:
            for finish in self.finishes:
                finish()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[Found]):
    """What was read of a partition, and what finishes the records that asked for it."""

    partition: int
    found: Found
    finishes: Sequence[Finish]


@dataclass(slots=True)
class _Asked(Generic[Key, Value]):
    wanted: dict[Key, Value] = field(default_factory=dict)
    finishes: list[Finish] = field(default_factory=list)


class LogReadings(Generic[Key, Value, Found]):
    """`read` takes a partition and what is wanted of it. Readings that share `turn` never read at the same time."""

    def __init__(self, read: Callable[[int, dict[Key, Value]], Awaitable[Found]], *, turn: asyncio.Lock) -> None:
        self._read = read
        self._turn = turn
        self._asked: dict[int, _Asked[Key, Value]] = {}
        self._done: list[Reading[Found]] = []
        self._task: asyncio.Task[None] | None = None
        self._reading: int | None = None

    def reads(self, partition: int) -> bool:
        """Whether something of the partition is wanted and was not read yet."""
        return partition in self._asked or partition == self._reading

    def ask(self, partition: int, wanted: dict[Key, Value], finishes: Sequence[Finish]) -> None:
        """Wants something of a partition read; a later wish for the same key takes the place of an earlier one."""
        asked = self._asked.setdefault(partition, _Asked())
        asked.wanted.update(wanted)
        asked.finishes.extend(finishes)
        self._begin()

    def take_done(self) -> list[Reading[Found]]:
        """What was read since the last call. Raises what a reading raised."""
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            task.result()
            self._begin()
        done, self._done = self._done, []
        return done

    async def drop(self) -> None:
        """Ends reading. What was asked for stays unfinished, for the next owner of the partitions."""
        task, self._task = self._task, None
        self._asked.clear()
        self._reading = None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        self._done.clear()

    def _begin(self) -> None:
        if self._task is None and self._asked:
            self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while self._asked:
            async with self._turn:
                partition = next(iter(self._asked))
                asked, self._reading = self._asked.pop(partition), partition
                found = await self._read(partition, asked.wanted)
                self._done.append(Reading(partition=partition, found=found, finishes=asked.finishes))
                self._reading = None
