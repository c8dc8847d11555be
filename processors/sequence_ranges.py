"""Sets of sequence numbers that take memory by their gaps, not by their size."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """A set of non-negative integers as sorted, disjoint, non-adjacent ranges `(first, last)`, both included."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The ranges, lowest first."""
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        """How many numbers are in the set; at most what `len` can say: a damaged manifest may name any two numbers."""
        return min(sys.maxsize, sum(last - first + 1 for first, last in self))

    @property
    def highest(self) -> int:
        """The highest number; -1 for the empty set."""
        return self._lasts[-1] if self._lasts else -1

    @property
    def lowest(self) -> int:
        """The lowest number; 0 for the empty set."""
        return self._firsts[0] if self._firsts else 0

    def add(self, first: int, last: int | None = None) -> None:
        """Adds `first`, or `first..last`. A range that ends before it begins adds nothing."""
        last = first if last is None else last
        if last < first:
            return
        low = bisect_left(self._lasts, first - 1)  # the first range that touches it
        high = bisect_right(self._firsts, last + 1)  # after the last one that does
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def union(self, *others: Ranges) -> Ranges:
        """All numbers that are in this or another set."""
        return Ranges(part for ranges in (self, *others) for part in ranges)

    def without(self, other: Ranges) -> Ranges:
        """The numbers that are not in `other`."""
        rest = Ranges()
        for first, last in self:
            start = first
            for cut_first, cut_last in other.overlapping(first, last):
                rest.add(start, cut_first - 1)
                start = cut_last + 1
            rest.add(start, last)
        return rest

    def overlapping(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The ranges that have a number in `first..last`, lowest first."""
        at = bisect_left(self._lasts, first)
        while at < len(self._firsts) and self._firsts[at] <= last:
            yield self._firsts[at], self._lasts[at]
            at += 1

    def as_list(self) -> list[list[int]]:
        """The ranges as plain lists, to be kept."""
        return [[first, last] for first, last in self]

    @staticmethod
    def from_list(ranges: Iterable[Iterable[int]]) -> Ranges:
        """What `as_list` gave."""
        return Ranges((first, last) for first, last in ranges)
