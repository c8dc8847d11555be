"""How good alerts from the charts are: shifts found and how late, causes found, false alarms in a month of hourly points.

A line of 200 parts an hour with 5 % bad ones. Charts are those of a plant file with their defaults, made by the class that makes them in
the statistics stage, and alarms are the alerts that the rule of a chart raises with its defaults: above and below, until five points in a
row are quiet. A cause is one tool of five that makes parts three times as bad, over 300 of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from processors.alert_chart import ChartWatch
from processors.alert_episodes import Episodes
from processors.chart_baselines import frozen
from processors.chart_points import Sample
from processors.chart_series import Series, Subject
from processors.quality.association import associations_of_counts
from processors.quality.change_point import CountPoint, change_point
from schemas.alert_rules import ChartRule
from schemas.alerts import AlertState
from schemas.chart_settings import AnyBaseline, Chart, ChartKind, CountedBaseline, NotOk, PictureMeasurement
from schemas.charts import ChartPoint
from schemas.message import NS_PER_S
from schemas.plant import Line, Plant

PARTS_PER_HOUR = 200
FEW_PARTS_PER_HOUR = (4, 10, 20, 40)  # 0.2, 0.5, 1 and 2 bad ones a point
RATE = 0.05
LOW_RATE = 0.03  # of causes once more: at 300 parts chance hides some of them
MONTH_HOURS = 30 * 24
FACTORS = (1.5, 2.0, 3.0)
SHIFTS = 200
CAUSES = 20
CHARTS = 100
CAUSE_PARTS = 300
LOOKED_AT_HOURS = 200
SEED = 20261124
HOUR_NS = 3600 * NS_PER_S
KINDS: tuple[ChartKind, ...] = ("p", "ewma", "cusum")
MEASURED_KINDS: tuple[ChartKind, ...] = ("i_mr", "xbar_r", "xbar_s")
SUBJECT = Subject("station/aoi", "line-1")


class ShiftsFound(NamedTuple):
    """Shifts by one factor: how many, found within 200 hours, median delay in points, and dated right by the change point."""

    factor: float
    shifts: int
    found: int
    median_delay: float
    dated: int


def alarms(kind: ChartKind, counts: Sequence[int], *, parts: int = PARTS_PER_HOUR) -> list[int]:
    """The hours (points, from 0) at which an alert is raised by a chart of hourly counts of bad ones among `parts`."""
    chart = Chart(name="share", figure=NotOk(), chart=kind, window_ms=3_600_000)
    samples = [_sample(hour, counted=count, size=parts) for hour, count in enumerate(counts)]
    return _raised(chart, _baseline(chart, parts), samples)


def measured_alarms(kind: ChartKind, subgroups: Sequence[tuple[float, ...]]) -> list[int]:
    """The same by a chart of an hourly subgroup of a measurement of mean 0 and standard deviation 1; a baseline of 10,000 values."""
    figure = PictureMeasurement(measure="area_px")
    chart = Chart(name="size", figure=figure, chart=kind, window_ms=3_600_000, subgroup=len(subgroups[0]))
    normal = np.random.default_rng(SEED + 1).standard_normal((10_000 // chart.subgroup, chart.subgroup))
    looked_at = [
        ChartPoint(
            id="", chart=chart.name, kind=kind, subject=SUBJECT.name, line="line-1", start_at_ns=-number, end_at_ns=0,
            revision=0, phase=1, value=0.0, values=tuple(values), size=chart.subgroup,
        )
        for number, values in enumerate(normal.tolist())
    ]  # fmt: skip
    baseline = frozen(chart, looked_at, excluded=(), frozen_by="benchmark", frozen_at_ns=0)
    return _raised(chart, baseline, [_sample(hour, values=values) for hour, values in enumerate(subgroups)])


def _sample(hour: int, *, counted: int = 0, size: int = 0, values: tuple[float, ...] = ()) -> Sample:
    return Sample(hour * HOUR_NS, (hour + 1) * HOUR_NS, hour + 1, counted, size or len(values), values)


def _raised(chart: Chart, baseline: AnyBaseline, samples: Sequence[Sample]) -> list[int]:
    series = Series(chart=chart, subject=SUBJECT, length_ns=HOUR_NS, baselines=[baseline])
    rule = ChartRule(name="control", chart=chart.name)
    watch = ChartWatch(rule, plant=PLANT, stations=frozenset())
    episodes = Episodes([rule], plant=PLANT)
    raised = []
    for hour, sample in enumerate(samples):
        series.put(sample)
        for point in series.due():
            findings = watch.see(point, at_ns=point.end_at_ns, now_ns=point.end_at_ns)
            raised += [hour for alert in episodes.apply(findings) if alert.state is AlertState.RAISED]
    return raised


PLANT = Plant(plant="works", lines=(Line(name="line-1", stations=()),), recipes=())


def _baseline(chart: Chart, parts: int) -> CountedBaseline:
    return CountedBaseline(
        chart=chart.name,
        settings=chart,
        subject=SUBJECT.name,
        points=100,
        from_ns=0,
        to_ns=0,
        data="the rate that is simulated",
        frozen_by="benchmark",
        frozen_at_ns=0,
        applies_from_ns=0,
        rate=RATE,
        counted=round(100 * parts * RATE),
        looked_at=100.0 * parts,
    )


def shifts_found() -> list[ShiftsFound]:
    """200 shifts, by factor; each after a quiet time of 10 to 100 hours, whose alarms do not count."""
    rng = np.random.default_rng(SEED)
    rows = []
    for number, factor in enumerate(FACTORS):
        count = SHIFTS // len(FACTORS) + (number < SHIFTS % len(FACTORS))
        delays, dated = [], 0
        for _ in range(count):
            quiet = int(rng.integers(10, 101))
            rates = [RATE] * quiet + [RATE * factor] * LOOKED_AT_HOURS
            counts = rng.binomial(np.full(len(rates), PARTS_PER_HOUR), rates).tolist()
            raised = [hour for kind in KINDS[:2] for hour in alarms(kind, counts)]
            after = [hour - quiet + 1 for hour in raised if hour >= quiet]
            if not after:
                continue
            delays.append(min(after))
            seen = counts[: quiet + min(after) + 24]  # looked at a day later
            change = change_point([CountPoint(hour, bad, PARTS_PER_HOUR) for hour, bad in enumerate(seen)])
            dated += change is not None and change.p_value <= 0.05 and change.earliest_ns <= quiet <= change.latest_ns
        rows.append(ShiftsFound(factor, count, len(delays), float(np.median(delays)), dated))
    return rows


def causes_found(rate: float) -> tuple[int, int]:
    """Of 20 causes on a line of `rate`: how many were pointed at first; and how many other levels were pointed at too."""
    rng = np.random.default_rng(SEED)
    first = others = 0
    for _ in range(CAUSES):
        guilty = int(rng.integers(5))
        tools = {
            f"T{tool}": (int(rng.binomial(CAUSE_PARTS, rate * (3 if tool == guilty else 1))), CAUSE_PARTS)
            for tool in range(5)
        }
        bad = sum(count for count, _ in tools.values())
        shifts = dict(zip(("early", "late", "night"), rng.multinomial(bad, [1 / 3] * 3).tolist(), strict=True))
        rows = associations_of_counts({"tool": tools, "shift": {name: (n, 500) for name, n in shifts.items()}})
        pointed = [(row.label, row.level) for row in rows if row.pointed_at and row.risk_ratio.value > 1]
        first += pointed[:1] == [("tool", f"T{guilty}")]
        others += len(pointed) - (("tool", f"T{guilty}") in pointed)
    return first, others


def false_alarms_per_chart(kind: ChartKind, *, parts: int = PARTS_PER_HOUR) -> float:
    """Mean number of alerts that a chart raises in 30 days of hourly points in control, over 100 charts; of counts, of `parts` an hour."""
    rng = np.random.default_rng(SEED)
    if kind in KINDS:
        months = [rng.binomial(parts, RATE, MONTH_HOURS).tolist() for _ in range(CHARTS)]
        return sum(len(alarms(kind, counts, parts=parts)) for counts in months) / CHARTS
    size = 1 if kind == "i_mr" else 5
    measured = [list(map(tuple, rng.standard_normal((MONTH_HOURS, size)).tolist())) for _ in range(CHARTS)]
    return sum(len(measured_alarms(kind, values)) for values in measured) / CHARTS
