"""Control limits and yield figures are right to the printed digit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.quality.pane_figures import (
    control_point,
    decided_defects,
    decided_opportunities,
    decided_parts,
    dpmo,
    first_pass_yield_ratio,
    not_ok_ratio,
)
from processors.spc.count_limits import binomial_limits
from processors.statistics_counts import Contribution, Sums, added
from schemas.reasons import VerdictValue
from schemas.statistics import PaneCounts
from schemas.statistics_settings import PChart


def binomial_cdf(count: int, parts: int, proportion: float) -> float:
    """P(X <= count), summed term by term from the definition."""
    return sum(math.comb(parts, k) * proportion**k * (1 - proportion) ** (parts - k) for k in range(count + 1))


def test_limits_of_ten_parts_at_ten_percent_by_the_binomial_table() -> None:
    # Table of cumulative binomial probabilities, n = 10, p = 0.10: 0.3487 0.7361 0.9298 0.9872 0.9984.
    assert [round(binomial_cdf(k, 10, 0.1), 4) for k in range(5)] == [0.3487, 0.7361, 0.9298, 0.9872, 0.9984]
    # 95 %: P(X > 3) = 0.0128 <= 0.025 < P(X > 2) = 0.0702; 99 %: P(X > 4) = 0.0016 <= 0.005 < P(X > 3).
    assert binomial_limits(parts=10, proportion=0.1, confidence=0.95) == (0, 3)
    assert binomial_limits(parts=10, proportion=0.1, confidence=0.99) == (0, 4)


def test_limits_of_the_nist_wafers_beside_the_three_sigma_ones() -> None:
    # NIST/SEMATECH e-Handbook 6.3.3.2: n = 50 chips, mean fraction 0.2313. Three sigma give 0.0524 and 0.4102.
    sigma = math.sqrt(0.2313 * (1 - 0.2313) / 50)
    assert (round(0.2313 - 3 * sigma, 4), round(0.2313 + 3 * sigma, 4)) == (0.0524, 0.4102)
    # The normal curve is symmetric, the binomial is not: 0.0524 would let 2.62 chips pass as the lower limit, the exact
    # one is 4, for P(X < 4) = 0.0013; the upper one is 21 of 50 = 0.42, for P(X > 21) = 0.0009 and P(X > 20) = 0.0023.
    assert binomial_limits(parts=50, proportion=0.2313, confidence=0.9973) == (4, 21)
    assert round(binomial_cdf(3, 50, 0.2313), 4) == 0.0013
    assert round(1 - binomial_cdf(21, 50, 0.2313), 4) == 0.0009
    assert round(1 - binomial_cdf(20, 50, 0.2313), 4) == 0.0023


@given(st.integers(1, 120), st.floats(0.001, 0.999), st.sampled_from([0.9, 0.95, 0.99, 0.9973]))
def test_an_in_control_process_leaves_the_limits_no_more_often_than_stated_and_they_are_the_tightest(
    parts: int, proportion: float, confidence: float
) -> None:
    lower, upper = binomial_limits(parts=parts, proportion=proportion, confidence=confidence)
    tail, slack = (1 - confidence) / 2, 1e-9
    assert 0 <= lower <= upper <= parts
    assert (binomial_cdf(lower - 1, parts, proportion) if lower else 0.0) <= tail + slack
    assert 1 - binomial_cdf(upper, parts, proportion) <= tail + slack
    assert binomial_cdf(lower, parts, proportion) >= tail - slack
    assert upper == 0 or 1 - binomial_cdf(upper - 1, parts, proportion) >= tail - slack


def test_a_billion_parts_have_limits_too() -> None:
    lower, upper = binomial_limits(parts=10**9, proportion=0.05, confidence=0.9973)
    three_sigma = 3 * math.sqrt(10**9 * 0.05 * 0.95)
    assert lower == pytest.approx(5e7 - three_sigma, abs=20)
    assert upper == pytest.approx(5e7 + three_sigma, abs=20)


def test_a_point_counts_decided_parts_only_and_says_when_it_is_outside() -> None:
    chart = PChart(baseline_ratio=0.1, confidence=0.95)
    inside = control_point(PaneCounts(parts=14, ok=7, not_ok=3, not_decidable=4), chart)
    assert inside is not None
    assert (inside.value, inside.sample_size, inside.upper, inside.outside) == (0.3, 10, 0.3, False)
    outside = control_point(PaneCounts(parts=10, ok=6, not_ok=4), chart)
    assert outside is not None
    assert outside.outside


def test_a_share_below_the_lower_limit_is_outside_too() -> None:
    point = control_point(PaneCounts(parts=50, ok=47, not_ok=3), PChart(baseline_ratio=0.2313, confidence=0.9973))
    assert point is not None
    assert point.lower == 4 / 50
    assert point.outside


def test_figures_of_a_window_without_parts_are_absent_not_zero() -> None:
    nothing = PaneCounts()
    assert control_point(nothing, PChart()) is None
    assert (not_ok_ratio(nothing), first_pass_yield_ratio(nothing), dpmo(nothing)) == (None, None, None)


def test_yield_and_dpmo_by_hand() -> None:
    # 100 units on their first visit, 92 OK; 8 came again. 12 defects in 108 parts with 5 opportunities each.
    counts = PaneCounts(
        parts=108, ok=98, not_ok=10, units=100, first_pass_ok=92, defects=12, opportunities=540, defects_by_class={}
    )
    assert first_pass_yield_ratio(counts) == 0.92
    assert not_ok_ratio(counts) == pytest.approx(10 / 108)
    assert dpmo(counts) == pytest.approx(22222.22, abs=0.01)


def test_a_dead_camera_lowers_no_rate_of_defects() -> None:
    def counted(undecided: int) -> PaneCounts:
        sums = Sums()
        for number in range(20 + undecided):
            value = VerdictValue.NOT_DECIDABLE if number >= 20 else VerdictValue.OK if number else VerdictValue.NOT_OK
            sums.add(Contribution(value, True, 5, (("open", 2),) if number in (0, 20) else ()))
        return sums.counts()

    whole, blind = counted(0), counted(20)
    assert (blind.parts, blind.defects, blind.opportunities) == (40, 4, 200)
    assert (decided_parts(blind), decided_defects(blind), decided_defects(blind, "open")) == (20, 2, 2)
    assert dpmo(blind) == dpmo(whole) == 2 / 100 * 1_000_000
    twice = added([blind, blind])
    assert (decided_defects(twice), decided_opportunities(twice)) == (4, 200)


def test_a_thousand_million_parts_have_limits_and_a_window_without_parts_has_no_ratios() -> None:
    many = PaneCounts(parts=10**9, ok=96 * 10**7, not_ok=4 * 10**7, units=10**9, first_pass_ok=96 * 10**7)
    point = control_point(many, PChart(baseline_ratio=0.04))
    assert point is not None
    assert point.lower < point.value == 0.04 < point.upper
    assert point.upper - point.lower < 1e-4
    assert control_point(PaneCounts(), PChart()) is None
    assert first_pass_yield_ratio(PaneCounts()) is None
