"""The commit rule of everyone who reads a topic in a group: only the contiguous finished prefix of a partition may be committed.

Both runners keep it, and the PLC gateway's intake of commands; it stands here because gateways import `schemas` only.

Records are taken in the order of their offsets and finish in any order. What may be committed is the offset after the
last record such that it and every record taken before it are finished; so a restart repeats work, and never skips any.
Offsets need not be consecutive (compaction, transaction markers leave holes): the order of taking counts, not the numbers.
"""

from __future__ import annotations

from collections import deque


class FinishedPrefix:
    """The finished prefix of one partition, from its assignment to its revocation."""

    def __init__(self) -> None:
        self._taken: deque[int] = deque()  # in order, from the oldest unfinished one on
        self._unfinished: set[int] = set()
        self._next_offset: int | None = None

    @property
    def next_offset(self) -> int | None:
        """The offset that may be committed (the next one to read after a restart); None while nothing may be."""
        return self._next_offset

    @property
    def unfinished(self) -> int:
        """How many records were taken and are not finished."""
        return len(self._unfinished)

    def take(self, offset: int) -> None:
        """A record was taken in. Raises ValueError unless offsets increase."""
        newest = self._taken[-1] if self._taken else (self._next_offset or 0) - 1
        if offset <= newest:
            raise ValueError(f"offset {offset} taken after {newest}; expected offsets of one partition to increase")
        self._taken.append(offset)
        self._unfinished.add(offset)

    def finish(self, offset: int) -> list[int]:
        """A record is finished: everything it caused was acknowledged.

        Returns the offsets that joined the prefix, in order (none while an older record is unfinished). Raises ValueError
        for an offset that was not taken or is finished already.
        """
        if offset not in self._unfinished:
            raise ValueError(f"offset {offset} finished, but it was not taken or is finished already")
        self._unfinished.remove(offset)
        joined: list[int] = []
        while self._taken and self._taken[0] not in self._unfinished:
            joined.append(self._taken.popleft())
        if joined:
            self._next_offset = joined[-1] + 1
        return joined
