"""Inspections whose part has not arrived yet: kept for a while, within a budget.

Topics are read side by side, so an inspection may well be read before the arrival that belongs to it; and a PLC gateway that
comes back reports its parts late. What waits longer than the grace, or has to make room, belongs to no known part.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic

from processors.part_state import PartVisit, Source
from schemas.inspections import Inspection


@dataclass(frozen=True, slots=True, kw_only=True)
class Early(Generic[Source]):
    """One inspection that waits for its part, since `since_ns` (ns UTC)."""

    inspection: Inspection
    source: Source
    size_bytes: int
    since_ns: int

    @property
    def visit(self) -> PartVisit:
        """The part that it belongs to."""
        return PartVisit(self.inspection.station, self.inspection.part_id, self.inspection.visit)


class EarlyInspections(Generic[Source]):
    """Those of one partition, at most `limit_bytes` of them and each for at most `grace_ns`."""

    def __init__(self, *, limit_bytes: int, grace_ns: int) -> None:
        self._limit_bytes = limit_bytes
        self._grace_ns = grace_ns
        self._held: OrderedDict[int, Early[Source]] = OrderedDict()  # by number, oldest first
        self._numbers: dict[PartVisit, list[int]] = {}
        self._next_number = 0
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, early: Early[Source]) -> list[Early[Source]]:
        """Keeps it. Returns what had to make room, oldest first."""
        self._held[self._next_number] = early
        self._numbers.setdefault(early.visit, []).append(self._next_number)
        self._next_number += 1
        self._size_bytes += early.size_bytes
        given_up = []
        while self._size_bytes > self._limit_bytes:
            given_up.append(self._give_up_oldest())
        return given_up

    def claim(self, visit: PartVisit) -> list[Early[Source]]:
        """The part has arrived: hands out its inspections in the order in which they came."""
        claimed = [self._held.pop(number) for number in self._numbers.pop(visit, ())]
        self._size_bytes -= sum(early.size_bytes for early in claimed)
        return claimed

    def expired(self, now_ns: int) -> list[Early[Source]]:
        """Gives up what has waited for the whole grace, oldest first."""
        given_up = []
        while self._held and next(iter(self._held.values())).since_ns + self._grace_ns <= now_ns:
            given_up.append(self._give_up_oldest())
        return given_up

    def _give_up_oldest(self) -> Early[Source]:
        number, early = self._held.popitem(last=False)
        self._size_bytes -= early.size_bytes
        numbers = self._numbers[early.visit]
        numbers.remove(number)
        if not numbers:
            del self._numbers[early.visit]
        return early
