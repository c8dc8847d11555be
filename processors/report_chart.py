"""The p-chart of a period: points of equal windows against the frozen baseline, with the run rules that each point completes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from processors.spc.attribute_charts import AttributeChart, AttributeLimits
from processors.spc.run_rules import RunRule, RunRules
from processors.windows import Window
from schemas.message import NS_PER_MS
from schemas.reasons import VerdictValue
from schemas.statistics_settings import StatisticsSettings
from schemas.verdicts import Verdict

MOST_POINTS = 60
"""More cannot be told apart on a sheet of paper."""


class MarkedPoint(NamedTuple):
    """`not_ok` of `decided` parts in the window that begins at `start_at_ns`, with exact limits and the rules it completes."""

    start_at_ns: int
    window_ms: int
    decided: int
    not_ok: int
    value: float
    centre: float
    lower: float
    upper: float
    outside: bool
    rules: tuple[str, ...]


def marked_points(
    verdicts: Sequence[Verdict], *, period_ns: tuple[int, int], statistics: StatisticsSettings
) -> list[MarkedPoint]:
    """One point per window with a decided part, in order of time. Windows are the shortest of the plant file that make at most 60."""
    length_ms = _length_ms(period_ns, statistics)
    counts: dict[int, list[int]] = {}
    for verdict in verdicts:
        if verdict.verdict is not VerdictValue.NOT_DECIDABLE:
            pair = counts.setdefault(Window.containing(verdict.arrived_at_ns, length_ms).start_at_ns, [0, 0])
            pair[0] += 1
            pair[1] += verdict.verdict is VerdictValue.NOT_OK
    chart = statistics.p_chart
    limits = AttributeLimits(chart=AttributeChart.P, rate=chart.baseline_ratio, confidence=chart.confidence)
    rules = RunRules(RunRule(name) for name in chart.run_rules)
    points = []
    for start_at_ns, (decided, not_ok) in sorted(counts.items()):
        point = limits.point(count=not_ok, size=decided)
        assert point is not None, "a window is here because a part was decided in it"
        met = rules.add(limits.place(count=not_ok, size=decided))
        points.append(
            MarkedPoint(start_at_ns, length_ms, decided, not_ok, *point, tuple(rule.value for rule in met))
        )  # fmt: skip
    return points


def _length_ms(period_ns: tuple[int, int], statistics: StatisticsSettings) -> int:
    from_ns, to_ns = period_ns
    lengths = sorted(statistics.windows_ms)
    return next((ms for ms in lengths if (to_ns - from_ns) <= MOST_POINTS * ms * NS_PER_MS), lengths[-1])
