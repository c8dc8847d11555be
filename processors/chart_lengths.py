"""How often a chart of the plant file is wrong: points on average between false alarms, said before it is switched on.

Of independent points: normal values (`processors.spc.run_length`, `run_rule_lengths`), or once a baseline of counts is frozen counts at its
rate in subgroups of its mean size. Exact limits and run rules of counts are met by chance no more often than those of normal values, and
on small subgroups far more seldom. The rules about the order of neighbours are simulated (docs/statistics.md).
"""

from __future__ import annotations

from scipy.stats import norm

from processors.chart_baselines import count_limits
from processors.chart_points import chosen_rules
from processors.spc.count_run_length import cusum_count_run_length, ewma_count_run_length
from processors.spc.probability_limits import THREE_SIGMA, Spread, spread_alarm_ratio, width
from processors.spc.run_length import attribute_run_length, cusum_run_length, ewma_run_length, shewhart_run_length
from processors.spc.run_rule_lengths import ORDER_RULES, count_run_rule_length, run_rule_length
from processors.spc.run_rules import NELSON, RunRule
from schemas.chart_settings import AnyBaseline, Chart, CountedBaseline, is_counted

SIMULATED_NELSON = 74.0
"""Nelson's eight rules: simulated, `benchmarks/statistics.py`."""
MANY = 400.0
"""An expected count from which on it is as good as normal, and its chain would be long."""


def points_between_false_alarms(chart: Chart, baseline: AnyBaseline | None = None) -> float | None:
    """In control; None where a combination of rules was neither worked out nor simulated.

    Of charts of measurements with the spread chart beside them, as if both were independent.
    """
    if isinstance(baseline, CountedBaseline) and baseline.sigma_z is None and expected_count(baseline) <= MANY:
        return _of_counts(chart, baseline, size=mean_size(baseline))
    return _of_normal_values(chart)


def expected_count(baseline: CountedBaseline) -> float:
    """Bad parts or defects in a point of the baseline, on average."""
    return baseline.counted / baseline.points


def size_that_does(chart: Chart, baseline: CountedBaseline, *, points: float) -> int | None:
    """Parts a point, some doublings of the baseline's, with which an EWMA or CUSUM is wrong no more often than every so many points; None
    where none does."""
    size = mean_size(baseline)
    while size * baseline.rate <= MANY:
        length = _of_counts(chart, baseline, size=size)
        if length is not None and length >= points:
            return size
        size *= 2
    return None


def mean_size(baseline: CountedBaseline) -> int:
    """Parts in a point of the baseline, on average."""
    return max(1, round(baseline.looked_at / baseline.points))


def _of_counts(chart: Chart, baseline: CountedBaseline, *, size: int) -> float | None:
    limits = count_limits(chart, baseline)
    if limits.sigma(size) <= 0:
        return None  # none was ever bad, or all were: any other count is a signal
    match chart.chart:
        case "ewma":
            return ewma_count_run_length(
                limits, size=size, rate=limits.rate, weight=chart.weight, width=chart.width_sigma
            )
        case "cusum":
            return cusum_count_run_length(
                limits,
                size=size,
                rate=limits.rate,
                reference=chart.reference_sigma,
                interval=chart.interval_sigma,
            )
    rules = {RunRule.BEYOND_3_SIGMA, *chosen_rules(chart)}
    if rules == {RunRule.BEYOND_3_SIGMA}:
        return attribute_run_length(limits, size=size, rate=limits.rate)
    if rules & ORDER_RULES:
        return None
    return count_run_rule_length(rules, limits, size=size, rate=limits.rate)


def _of_normal_values(chart: Chart) -> float | None:
    if chart.chart == "ewma":
        return ewma_run_length(weight=chart.weight, width=chart.width_sigma, shift=0.0)
    if chart.chart == "cusum":
        return cusum_run_length(reference=chart.reference_sigma, interval=chart.interval_sigma, shift=0.0)
    rules = {RunRule.BEYOND_3_SIGMA, *chosen_rules(chart)}
    counted = is_counted(chart)
    reach = float(norm.isf((1 - chart.confidence) / 2)) if counted else width(chart.confidence)
    if chart.confidence == THREE_SIGMA:
        reach = 3.0
    if rules == {RunRule.BEYOND_3_SIGMA}:
        length = shewhart_run_length(width=reach, shift=0.0)
    elif rules == set(NELSON) and reach == 3.0:
        length = SIMULATED_NELSON
    elif rules & ORDER_RULES:
        return None
    else:
        length = run_rule_length(rules, shift=0.0, width=reach)
    return length if counted else 1 / (1 / length + _spread_alarms(chart))


def _spread_alarms(chart: Chart) -> float:
    """How often the spread of a subgroup signals; a moving range is that of two values."""
    spread = Spread.DEVIATION if chart.chart == "xbar_s" else Spread.RANGE
    return spread_alarm_ratio(spread, size=max(2, chart.subgroup), confidence=chart.confidence)
