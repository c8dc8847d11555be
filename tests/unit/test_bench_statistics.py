"""What the statistics benchmark simulates is what it says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import alert_quality, simulated_run_lengths
from processors.spc.attribute_charts import AttributeChart, AttributeLimits
from processors.spc.run_length import attribute_run_length, cusum_run_length, ewma_run_length

RUNS = 4000


def test_simulated_run_lengths_are_those_of_theory() -> None:
    limits = AttributeLimits(chart=AttributeChart.P, rate=0.05)
    exact = limits.exact_limits(200)
    draw = simulated_run_lengths.counts(size=200, rate=0.10, seed=1)
    found = simulated_run_lengths.shewhart(draw, lower=exact.lower, upper=exact.upper, runs=RUNS)
    assert found == pytest.approx(attribute_run_length(limits, size=200, rate=0.10), rel=0.05)
    draw = simulated_run_lengths.normal(shift=1, seed=2)
    found = simulated_run_lengths.ewma(draw, weight=0.2, width=3, runs=RUNS)
    assert found == pytest.approx(ewma_run_length(weight=0.2, width=3, shift=1), rel=0.05)
    draw = simulated_run_lengths.normal(shift=-1, seed=3)
    found = simulated_run_lengths.cusum(draw, reference=0.5, interval=4, runs=RUNS)
    assert found == pytest.approx(cusum_run_length(reference=0.5, interval=4, shift=1), rel=0.05)


def test_a_quiet_line_and_a_bad_one_raise_what_they_should() -> None:
    expected = round(alert_quality.PARTS_PER_HOUR * alert_quality.RATE)
    for kind in alert_quality.KINDS:
        assert alert_quality.alarms(kind, [expected] * 100) == []
        assert alert_quality.alarms(kind, [expected] * 10 + [3 * expected] * 4) in (
            [10],
            [11],
        )  # one alert until it is over
        assert alert_quality.alarms(kind, [expected] * 10 + [0] * 10)[0] in (10, 11, 12)  # too good is a change, too


def test_a_measurement_that_moves_raises_one_alert_until_it_is_over() -> None:
    for kind, size in (("i_mr", 1), ("xbar_r", 5), ("xbar_s", 5)):
        calm, moved = (1.0, 0.5, -0.5, -1.0, 0.0)[:size], (7.0,) * size
        assert alert_quality.measured_alarms(kind, [calm] * 20 + [moved] * 3 + [calm] * 10) == [20]


def test_a_chart_by_default_raises_at_most_one_false_alarm_in_a_month_of_hours() -> None:
    rng = np.random.default_rng(5)
    months = [rng.binomial(200, 0.05, alert_quality.MONTH_HOURS).tolist() for _ in range(8)]
    for kind in ("p", "ewma"):
        assert sum(len(alert_quality.alarms(kind, month)) for month in months) <= 8
