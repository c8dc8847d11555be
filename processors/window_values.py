"""The values of a window for charts of measurements from pictures: the first `subgroup` parts by arrival that have one stand for it.

Consecutive parts of one moment are a rational subgroup: what differs within it is chance, what differs between windows is the process
(Montgomery, chapter 5). The order of arrival, not of the log, says which are first: late parts and reviews change them in every replay
alike.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from processors.picture_values import Measured, PictureChart
from processors.windows import Window

Order = tuple[int, str, int]
"""Arrival of a part (ns since the epoch), its id and visit."""


class WindowValues:
    """The values of one window and level; adding a part again replaces what it had."""

    def __init__(self, charts: Iterable[PictureChart]) -> None:
        self._subgroups = {each.chart.name: each.chart.subgroup for each in charts}
        self._values: dict[str, dict[Order, float]] = {}

    def add(self, order: Order, found: Measured) -> None:
        """Takes the values of a part, as far as this window is charted by them."""
        for name, value in found:
            if name in self._subgroups:
                self._values.setdefault(name, {})[order] = value

    def take(self, order: Order) -> None:
        """Takes a part out again."""
        for values in self._values.values():
            values.pop(order, None)

    def first(self) -> dict[str, tuple[float, ...]]:
        """By chart, the values of the first parts; charts without any are left out."""
        return {
            name: tuple(values[order] for order in heapq.nsmallest(self._subgroups[name], values))
            for name, values in sorted(self._values.items())
            if values
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
