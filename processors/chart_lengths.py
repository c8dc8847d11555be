"""How often a chart of the plant file is wrong: points on average between false alarms, said before it is switched on.

Of independent, normal points (`processors.spc.run_length`, `run_rule_lengths`). Counts are not normal: exact limits of small subgroups
are wrong less often than this, never more often. The rules about the order of neighbours are simulated (docs/statistics.md).
"""

from __future__ import annotations

from scipy.stats import norm

from processors.chart_points import chosen_rules
from processors.spc.run_length import cusum_run_length, ewma_run_length, shewhart_run_length
from processors.spc.run_rule_lengths import ORDER_RULES, run_rule_length
from processors.spc.run_rules import NELSON, RunRule
from schemas.chart_settings import Chart

SIMULATED_NELSON = 74.0
"""Nelson's eight rules: simulated, `benchmarks/statistics.py`."""
THREE_SIGMA = 0.9973


def points_between_false_alarms(chart: Chart) -> float | None:
    """In control; None where a combination of rules was neither worked out nor simulated.

    Of charts of measurements the location chart alone: the spread chart beside it is wrong as often again.
    """
    if chart.chart == "ewma":
        return ewma_run_length(weight=chart.weight, width=chart.width_sigma, shift=0.0)
    if chart.chart == "cusum":
        return cusum_run_length(reference=chart.reference_sigma, interval=chart.interval_sigma, shift=0.0)
    rules = {RunRule.BEYOND_3_SIGMA, *chosen_rules(chart)}
    if rules == {RunRule.BEYOND_3_SIGMA}:
        return shewhart_run_length(width=float(norm.isf((1 - chart.confidence) / 2)), shift=0.0)
    if round(chart.confidence, 4) != THREE_SIGMA:
        return None
    if rules == set(NELSON):
        return SIMULATED_NELSON
    return None if rules & ORDER_RULES else run_rule_length(rules, shift=0.0)
