"""How good alerts from the charts are: shifts found and how late, causes found, false alarms in a month of hourly points.

A line of 200 parts an hour with 5 % bad ones, the default of the plant file. The alarm is a point above the p-chart's exact upper limit,
or the EWMA of the standardised rate above its own; after an alarm the EWMA begins again. A cause is one tool of five that makes parts
three times as bad, over 300 of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from processors.quality.association import associations_of_counts
from processors.quality.change_point import CountPoint, change_point
from processors.spc.attribute_charts import AttributeChart, AttributeLimits
from processors.spc.ewma import Ewma
from schemas.statistics_settings import PChart

PARTS_PER_HOUR = 200
RATE = PChart().baseline_ratio
LOW_RATE = 0.03  # of causes once more: at 300 parts chance hides some of them
MONTH_HOURS = 30 * 24
FACTORS = (1.5, 2.0, 3.0)
SHIFTS = 200
CAUSES = 20
CHARTS = 300
CAUSE_PARTS = 300
EWMA_WEIGHT = 0.2
EWMA_WIDTH = 3.3  # 1,700 normal points between false alarms of both sides
SEED = 20261124

LIMITS = AttributeLimits(chart=AttributeChart.P, rate=RATE)


class Alarms(NamedTuple):
    """Hours (points, from 0) at which each chart raised an alarm."""

    p_chart: list[int]
    ewma: list[int]


class ShiftsFound(NamedTuple):
    """Shifts by one factor: how many, found within 30 days, median delay in points, and dated right by the change point."""

    factor: float
    shifts: int
    found: int
    median_delay: float
    dated: int


def alarms(counts: list[int]) -> Alarms:
    """Runs both charts over hourly counts of bad parts."""
    chart = Ewma(target=0, sigma=1, weight=EWMA_WEIGHT, width=EWMA_WIDTH)
    sigma = LIMITS.sigma(PARTS_PER_HOUR)
    upper = LIMITS.exact_limits(PARTS_PER_HOUR).upper
    found = Alarms([], [])
    for hour, count in enumerate(counts):
        if count > upper:
            found.p_chart.append(hour)
        point = chart.add((count / PARTS_PER_HOUR - RATE) / sigma)
        if point.value > point.upper:
            found.ewma.append(hour)
            chart.restart()
    return found


def shifts_found() -> list[ShiftsFound]:
    """200 shifts, by factor; each after a quiet time of 10 to 100 hours, whose alarms do not count."""
    rng = np.random.default_rng(SEED)
    rows = []
    for number, factor in enumerate(FACTORS):
        count = SHIFTS // len(FACTORS) + (number < SHIFTS % len(FACTORS))
        delays, dated = [], 0
        for _ in range(count):
            quiet = int(rng.integers(10, 101))
            rates = [RATE] * quiet + [RATE * factor] * MONTH_HOURS
            counts = rng.binomial(np.full(len(rates), PARTS_PER_HOUR), rates).tolist()
            raised = alarms(counts)
            after = [hour - quiet + 1 for hour in (*raised.p_chart, *raised.ewma) if hour >= quiet]
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


def false_alarms_per_chart() -> tuple[float, float]:
    """Mean number of alarms of the p-chart and of the EWMA in 30 days of hourly points in control, over 300 charts of each."""
    rng = np.random.default_rng(SEED)
    found = [alarms(rng.binomial(PARTS_PER_HOUR, RATE, MONTH_HOURS).tolist()) for _ in range(CHARTS)]
    return sum(len(each.p_chart) for each in found) / CHARTS, sum(len(each.ewma) for each in found) / CHARTS
