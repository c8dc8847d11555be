"""The values of a window for charts of measurements from pictures: the first `subgroup` parts by arrival that have one stand for it.

Consecutive parts of one moment are a rational subgroup: what differs within it is chance, what differs between windows is the process
(Montgomery, chapter 5). The order of arrival, not of the log, says which are first: late parts and reviews change them in every replay
alike.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from processors.picture_values import Measured, PictureChart
from processors.windows import Window

Order = tuple[int, str, int]
"""Arrival of a part (ns since the epoch), its id and visit."""


@dataclass(slots=True)
class _Charted:
    """The values of one chart by part, and the first `subgroup` parts in order: kept, for every late part asks what stood before it."""

    subgroup: int
    values: dict[Order, float] = field(default_factory=dict)
    first: list[Order] = field(default_factory=list)

    def add(self, order: Order, value: float) -> None:
        if order not in self.values and (len(self.first) < self.subgroup or order < self.first[-1]):
            insort(self.first, order)
            del self.first[self.subgroup :]
        self.values[order] = value

    def take(self, order: Order) -> None:
        if self.values.pop(order, None) is not None and order in self.first:
            self.first = heapq.nsmallest(self.subgroup, self.values)


class WindowValues:
    """The values of one window and level; adding a part again replaces what it had."""

    def __init__(self, charts: Iterable[PictureChart]) -> None:
        self._charts = {each.chart.name: _Charted(each.chart.subgroup) for each in charts}

    def add(self, order: Order, found: Measured) -> None:
        """Takes the values of a part, as far as this window is charted by them."""
        for name, value in found:
            if name in self._charts:
                self._charts[name].add(order, value)

    def take(self, order: Order) -> None:
        """Takes a part out again."""
        for charted in self._charts.values():
            charted.take(order)

    def first(self) -> dict[str, tuple[float, ...]]:
        """By chart, the values of the first parts; charts without any are left out."""
        return {
            name: tuple(charted.values[order] for order in charted.first)
            for name, charted in sorted(self._charts.items())
            if charted.first
        }


class ChartedWindows:
    """Which charts of measurements have a point for a window of a level."""

    def __init__(self, charts: Sequence[PictureChart]) -> None:
        self._charts: dict[tuple[str, int, str], list[PictureChart]] = {}
        self.by: dict[str, list[PictureChart]] = {}
        for each in charts:
            by = "" if each.chart.by == "station" else each.chart.by
            self.by.setdefault(by, []).append(each)
            self._charts.setdefault((each.chart.over, each.chart.window_ms or 0, by), []).append(each)

    def values_of(self, window: Window, by: str) -> WindowValues | None:
        """Where the values of such a window go; None where no chart has a point for it."""
        charts = self._charts.get((window.kind, 0 if window.kind == "shift" else window.length_ms, by))
        return WindowValues(charts) if charts else None
