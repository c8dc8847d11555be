"""Phase I: the points of a chart on the topic, and the baselines that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from cli.following import Follower
from cli.report_source import CLOCK_MARGIN_MS
from processors.chart_baselines import apart, frozen
from processors.period_report import Period
from processors.phase_one import outside
from schemas.chart_settings import AnyBaseline, Chart, LeftOut, MeasuredBaseline
from schemas.charts import ChartPoint
from schemas.errors import ConfigurationError
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import CHARTS

FEWEST_POINTS = 20
"""Montgomery, chapter 6: 20 to 25 samples before limits are worth anything."""


class Frozen(NamedTuple):
    """A baseline, and those of its points that lie outside its limits."""

    baseline: AnyBaseline
    outside: list[ChartPoint]


def frozen_of(
    chart: Chart,
    points: Iterable[ChartPoint],
    *,
    subject: str | None,
    excluded: Sequence[LeftOut],
    frozen_by: str,
    frozen_at_ns: int,
) -> list[Frozen]:
    """One baseline for each subject of the chart's points. Raises ConfigurationError where they are too few, or an exclusion names none, or
    could mean those of several subjects."""
    by_subject: dict[str, list[ChartPoint]] = {}
    for point in points:
        if subject in (None, point.subject):
            by_subject.setdefault(point.subject, []).append(point)
    if not by_subject:
        raise ConfigurationError(
            f"expected points of chart {chart.name} in that period; the topic has none"
            + (f" of {subject}" if subject else "")
        )
    _require_one_meaning(excluded, by_subject)
    found = []
    for name, mine in sorted(by_subject.items()):
        starts = {point.start_at_ns for point in mine if point.value is not None}
        left_out = [each for each in excluded if each.start_at_ns in starts]
        used = len(apart(chart, mine, keep={each.start_at_ns for each in left_out})) - len(left_out)
        if used < FEWEST_POINTS:
            which = " of windows that do not overlap" if chart.over == "sliding" else ""
            raise ConfigurationError(
                f"{name}: expected at least {FEWEST_POINTS} points{which}, got {used}: take a longer period, or --subject"
            )
        try:
            baseline = frozen(chart, mine, excluded=left_out, frozen_by=frozen_by, frozen_at_ns=frozen_at_ns)
        except ValueError as error:
            raise ConfigurationError(f"{name}: {error}") from error
        beyond = outside(baseline, mine)
        if isinstance(baseline, MeasuredBaseline):
            baseline = msgspec.structs.replace(baseline, outside=len(beyond))
        found.append(Frozen(baseline, beyond))
    return found


def _require_one_meaning(excluded: Sequence[LeftOut], by_subject: Mapping[str, Sequence[ChartPoint]]) -> None:
    """A cause is that of one point: the windows of all stations begin at the same moments."""
    for each in excluded:
        at_ns = each.start_at_ns
        names = [name for name, points in sorted(by_subject.items()) if any(p.start_at_ns == at_ns for p in points)]
        if not names:
            raise ConfigurationError(
                f"--exclude: expected the begin of a point of the period; {at_ns} ns ({each.cause}) is none"
            )
        if len(names) > 1:
            raise ConfigurationError(
                f"--exclude: expected a point of one subject; {at_ns} ns ({each.cause}) is one of {', '.join(names)}: "
                "freeze them one by one with --subject"
            )


def points_of(plant: Plant, kafka: KafkaSettings, chart: Chart, period: Period) -> list[ChartPoint]:
    """All revisions of the chart's points that begin in the period. Raises ConfigurationError where some are not kept any more."""
    from_ms = period.from_ns // NS_PER_MS
    with Follower(plant=plant, settings=kafka, topics=(CHARTS,), from_ms=from_ms - CLOCK_MARGIN_MS) as follower:
        follower.require_from(from_ms)
        return [
            seen.message
            for seen in follower.drain()
            if seen.message is not None and seen.message.chart == chart.name and period.holds(seen.message.start_at_ns)
        ]
