"""The control charts of the plant file over a period, from the points on the topic: the newest revision of each, in order of time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from schemas.charts import ChartPoint

MOST_SHOWN = 120
"""Points of a chart on a sheet: the newest; more cannot be told apart."""


class ChartedSubject(NamedTuple):
    """One chart of one subject; `all_points` is how many the period has, `points` are the newest 120 of them."""

    chart: str
    kind: str
    subject: str
    all_points: int
    signals: int
    points: list[ChartPoint]


def charted(points: Iterable[ChartPoint]) -> list[ChartedSubject]:
    """From all revisions, in the order in which they were told within each subject."""
    newest: dict[tuple[str, str], dict[int, ChartPoint]] = {}
    for point in points:
        known = newest.setdefault((point.chart, point.subject), {})
        if point.start_at_ns not in known or point.revision >= known[point.start_at_ns].revision:
            known[point.start_at_ns] = point
    found = []
    for (chart, subject), by_start in sorted(newest.items()):
        ordered = [point for _, point in sorted(by_start.items()) if point.value is not None]
        if ordered:
            signals = sum(point.signals for point in ordered)
            shown = ordered[-MOST_SHOWN:]
            found.append(ChartedSubject(chart, ordered[-1].kind, subject, len(ordered), signals, shown))
    return found
