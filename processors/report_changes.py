"""When a station's rate changed within a period, and what else changed then: a pointer in time with its evidence, never a cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from processors.quality.change_point import ChangePoint, CountPoint, Event, change_point, changed_then
from processors.report_chart import MarkedPoint
from schemas.verdicts import Verdict

SHOWN_EVENTS = 5
LIKELY_P = 0.01


class RateChange(NamedTuple):
    """The most likely change of a station's rate; `then` is what else changed in its range, nearest first. `likely` at p <= 0.01."""

    station: str
    change: ChangePoint
    then: list[Event]
    likely: bool


def rate_change(station: str, points: Sequence[MarkedPoint], verdicts: Sequence[Verdict]) -> RateChange | None:
    """Of the p-chart's points and the station's newest verdicts, in any order; None with fewer than two points."""
    found = change_point(CountPoint(point.start_at_ns, point.not_ok, point.decided) for point in points)
    if found is None:
        return None
    then = changed_then(found, list(_events(verdicts)))
    return RateChange(station, found, then[:SHOWN_EVENTS], found.p_value <= LIKELY_P)


def _events(verdicts: Sequence[Verdict]) -> Iterator[Event]:
    """Where a recipe, batch, label or model differs from that of the part before."""
    before: dict[str, str] = {}
    for verdict in sorted(verdicts, key=lambda each: (each.arrived_at_ns, each.id)):
        for label, level in _levels(verdict).items():
            if before.get(label, level) != level:
                yield Event(verdict.arrived_at_ns, f"{label}: {before[label]} -> {level}")
            before[label] = level


def _levels(verdict: Verdict) -> dict[str, str]:
    models = {f"model {use.model}": str(use.version) for use in verdict.models}
    batch = {"batch": verdict.batch} if verdict.batch else {}
    return {"recipe": verdict.recipe, **batch, **verdict.labels, **models}
