"""Limits of measurements by probability are beyond what they are said to be, and 0.9973 is the textbook's."""

from __future__ import annotations

import numpy as np
import pytest

from processors.spc.measurement_charts import individuals, xbar_r, xbar_s
from processors.spc.probability_limits import Spread, spread_alarm_ratio, spread_limits, width


@pytest.mark.parametrize("size", [2, 5, 10])
@pytest.mark.parametrize("confidence", [0.9973, 0.95])
def test_so_many_spreads_of_normal_values_lie_beyond_the_limits(size: int, confidence: float) -> None:
    values = np.random.default_rng(size).normal(0, 1, (50_000, size))
    found = {Spread.RANGE: np.ptp(values, axis=1), Spread.DEVIATION: values.std(axis=1, ddof=1)}
    for spread, each in found.items():
        lower, upper = spread_limits(spread, size=size, confidence=confidence)
        stated = spread_alarm_ratio(spread, size=size, confidence=confidence)
        assert np.mean((each < lower) | (each > upper)) == pytest.approx(stated, rel=0.3)
        assert stated <= (1 - confidence) / 2 + 1e-9 or confidence == 0.9973


def test_three_standard_deviations_are_the_default_and_narrower_limits_lie_within_wider_ones() -> None:
    groups = np.random.default_rng(1).normal(50, 2, (30, 5)).tolist()
    assert width(0.9973) == 3.0
    for chart in (xbar_r, xbar_s):
        assert chart(groups, confidence=0.9973) == chart(groups)
        narrow, wide = chart(groups, confidence=0.95), chart(groups, confidence=0.999)
        assert wide.location.lower < narrow.location.lower < narrow.location.upper < wide.location.upper
        assert narrow.spread.upper < wide.spread.upper
        assert narrow.sigma == wide.sigma == chart(groups).sigma
    single = individuals([1.0, 2.0, 1.5, 3.0], confidence=0.999)
    assert single.location.upper - single.location.centre == pytest.approx(3.4808 * single.sigma, rel=1e-4)
    assert single.spread.lower == 0.0
