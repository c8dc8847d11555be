"""Phase I: the points of a chart on the topic, and the baselines that follow from them."""

from __future__ import annotations

from collections.abc import Sequence

from cli.following import Follower
from cli.report_source import CLOCK_MARGIN_MS
from processors.chart_baselines import apart, frozen
from processors.period_report import Period
from schemas.chart_settings import AnyBaseline, Chart, LeftOut
from schemas.charts import ChartPoint
from schemas.errors import ConfigurationError
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import CHARTS

FEWEST_POINTS = 20
"""Montgomery, chapter 6: 20 to 25 samples before limits are worth anything."""


def frozen_from_topic(
    plant: Plant,
    kafka: KafkaSettings,
    chart: Chart,
    *,
    period: Period,
    subject: str | None,
    excluded: Sequence[LeftOut],
    frozen_by: str,
    frozen_at_ns: int,
) -> list[AnyBaseline]:
    """One baseline for each subject of the chart. Raises ConfigurationError where the points are too few, or an exclusion names none."""
    by_subject: dict[str, list[ChartPoint]] = {}
    for point in points_of(plant, kafka, chart, period):
        if subject in (None, point.subject):
            by_subject.setdefault(point.subject, []).append(point)
    if not by_subject:
        raise ConfigurationError(
            f"expected points of chart {chart.name} in that period; the topic has none"
            + (f" of {subject}" if subject else "")
        )
    found = []
    for name, points in sorted(by_subject.items()):
        starts = {point.start_at_ns for point in points if point.value is not None}
        mine = [each for each in excluded if each.start_at_ns in starts]
        used = len(apart(chart, points, keep={each.start_at_ns for each in mine})) - len(mine)
        if used < FEWEST_POINTS:
            which = " of windows that do not overlap" if chart.over == "sliding" else ""
            raise ConfigurationError(
                f"{name}: expected at least {FEWEST_POINTS} points{which}, got {used}: take a longer period, or --subject"
            )
        try:
            found.append(frozen(chart, points, excluded=mine, frozen_by=frozen_by, frozen_at_ns=frozen_at_ns))
        except ValueError as error:
            raise ConfigurationError(f"{name}: {error}") from error
    known = {each.start_at_ns for baseline in found for each in baseline.excluded}
    if strangers := [each for each in excluded if each.start_at_ns not in known]:
        raise ConfigurationError(
            f"--exclude: expected the begin of a point of the period; {strangers[0].start_at_ns} ns ({strangers[0].cause}) is none"
        )
    return found


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
