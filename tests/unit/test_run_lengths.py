"""Average run lengths equal the published tables."""

from __future__ import annotations

import numpy as np
import pytest

from processors.spc.attribute_charts import AttributeChart, AttributeLimits
from processors.spc.count_run_length import cusum_count_run_length, ewma_count_run_length
from processors.spc.run_length import (
    attribute_run_length,
    cusum_run_length,
    ewma_run_length,
    shewhart_run_length,
    upper_cusum_run_length,
)
from processors.spc.run_rule_lengths import run_rule_length
from processors.spc.run_rules import NELSON, WESTERN_ELECTRIC, Place, RunRule, RunRules

SHIFTS = (0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5)


def printed(value: float, like: str) -> str:
    """`value` with as many decimals as the table prints."""
    return f"{value:.{len(like.partition('.')[2])}f}"


@pytest.mark.parametrize(
    ("weight", "width", "table"),
    [
        # Lucas and Saccucci, Technometrics 32 (1990), table 3; both have 500 in control.
        (0.5, 3.071, ("255", "88.8", "35.9", "17.5", "6.53", "3.63", "2.50", "1.93", "1.58", "1.34", "1.07")),
        (0.03, 2.437, ("76.7", "29.3", "17.6", "12.6", "8.07", "5.99", "4.80", "4.03", "3.49", "3.11", "2.55")),
    ],
)
def test_ewma_equals_the_table_of_lucas_and_saccucci(weight: float, width: float, table: tuple[str, ...]) -> None:
    found = tuple(ewma_run_length(weight=weight, width=width, shift=shift) for shift in SHIFTS)
    assert tuple(map(printed, found, table)) == table
    assert ewma_run_length(weight=weight, width=width, shift=0) == pytest.approx(500, rel=0.001)


def test_ewma_equals_crowder_and_the_sas_manual() -> None:
    # Crowder, Technometrics 29 (1987), table 1: 26.45, 20.12, 11.89 at weight 0.5 and width 2; SAS/QC: 11.154267016.
    found = [round(ewma_run_length(weight=0.5, width=2, shift=shift), 2) for shift in (0, 0.25, 0.5)]
    assert found == [26.45, 20.12, 11.89]
    assert ewma_run_length(weight=0.25, width=3, shift=1) == pytest.approx(11.154267016, abs=1e-8)


def test_cusum_equals_the_table_of_lucas_and_crosier() -> None:
    # Technometrics 24 (1982), table 1, reference 0.5, interval 4.
    table = ("168", "74.2", "26.6", "13.3", "8.38", "4.75", "3.34", "2.62", "2.19", "1.71", "1.31")
    shifts = (0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5)
    found = (cusum_run_length(reference=0.5, interval=4, shift=shift) for shift in shifts)
    assert tuple(map(printed, found, table)) == table
    assert upper_cusum_run_length(reference=0.25, interval=8, shift=2.5) == pytest.approx(4.1500836, abs=1e-6)  # SAS/QC


@pytest.mark.parametrize(
    ("numbers", "length"),
    [((1,), 370.40), ((1, 2), 225.44), ((1, 3), 166.05), ((1, 4), 152.73), ((1, 2, 3), 132.89), ((1, 2, 3, 4), 91.75)],
)
def test_western_electric_rules_equal_champ_and_woodall(numbers: tuple[int, ...], length: float) -> None:
    # Technometrics 29 (1987), in control.
    rules = [WESTERN_ELECTRIC[number - 1] for number in numbers]
    assert round(run_rule_length(rules, shift=0), 2) == length


def test_rules_about_neighbours_have_no_chain() -> None:
    with pytest.raises(ValueError, match="simulated"):
        run_rule_length(NELSON, shift=0)


def test_one_limit_alone_is_geometric() -> None:
    assert round(shewhart_run_length(width=3, shift=0), 1) == 370.4
    assert run_rule_length([RunRule.BEYOND_3_SIGMA], shift=1) == pytest.approx(shewhart_run_length(width=3, shift=1))


def test_an_ewma_of_many_parts_has_the_run_length_of_normal_values() -> None:
    limits = AttributeLimits(chart=AttributeChart.P, rate=0.5)
    # One standard deviation of a share of 10,000 parts is 0.005.
    found = ewma_count_run_length(limits, size=10_000, rate=0.505, weight=0.25, width=3)
    assert found == pytest.approx(11.154, rel=0.005)


def test_exact_limits_signal_no_more_often_than_stated() -> None:
    for rate in (0.001, 0.01, 0.05, 0.3):
        limits = AttributeLimits(chart=AttributeChart.P, rate=rate)
        assert attribute_run_length(limits, size=100, rate=rate) >= 1 / 0.0027
    assert attribute_run_length(AttributeLimits(chart=AttributeChart.P, rate=0.0), size=100, rate=0.0) == float("inf")


@pytest.mark.parametrize(
    ("rule", "points"),
    [
        (RunRule.BEYOND_3_SIGMA, [-3.1]),
        (RunRule.TWO_OF_THREE_BEYOND_2_SIGMA, [2.1, 0.0, 2.5]),
        (RunRule.FOUR_OF_FIVE_BEYOND_1_SIGMA, [-1.1, -1.2, 0.5, -1.5, -2.5]),
        (RunRule.EIGHT_ON_ONE_SIDE, [0.1] * 8),
        (RunRule.NINE_ON_ONE_SIDE, [-0.1] * 9),
        (RunRule.SIX_RISING_OR_FALLING, [-1, -0.5, 0, 0.5, 1, 1.5]),
        (RunRule.FOURTEEN_ALTERNATING, [0.5, -0.5] * 7),
        (RunRule.FIFTEEN_WITHIN_1_SIGMA, [0.9, -0.9] * 7 + [0.0]),
        (RunRule.EIGHT_BEYOND_1_SIGMA_BOTH_SIDES, [1.5, -1.5] * 4),
    ],
)
def test_a_rule_fires_at_the_point_that_completes_it_and_not_before(rule: RunRule, points: list[float]) -> None:
    rules = RunRules([rule])
    assert [rules.add(Place.of_score(point)) for point in points[:-1]] == [()] * (len(points) - 1)
    assert rules.add(Place.of_score(points[-1])) == (rule,)
    assert RunRules([rule]).add(Place.of_score(0.0)) == ()


@pytest.mark.parametrize(("rate", "size"), [(0.005, 200), (0.05, 10)])
def test_a_cusum_of_few_counts_signals_as_often_as_a_simulated_one(rate: float, size: int) -> None:
    limits = AttributeLimits(chart=AttributeChart.P, rate=rate, confidence=0.999, sigma_z=None)
    found = cusum_count_run_length(limits, size=size, rate=rate, reference=0.5, interval=4.0)
    rng, runs = np.random.default_rng(20261130), 4_000
    upper, lower, lengths, running = np.zeros(runs), np.zeros(runs), np.zeros(runs), np.ones(runs, bool)
    while running.any():
        lengths += running
        score = (rng.binomial(size, rate, runs) / size - rate) / limits.sigma(size)
        upper, lower = np.maximum(0, upper + score - 0.5), np.maximum(0, lower - score - 0.5)
        running &= (upper <= 4.0) & (lower <= 4.0)
    assert found == pytest.approx(lengths.mean(), rel=0.05)


def test_a_cusum_of_many_counts_signals_as_one_of_normal_values() -> None:
    limits = AttributeLimits(chart=AttributeChart.P, rate=0.505, confidence=0.999, sigma_z=None)
    found = cusum_count_run_length(limits, size=10_000, rate=0.505, reference=0.5, interval=5.0)
    assert found == pytest.approx(cusum_run_length(reference=0.5, interval=5.0, shift=0.0), rel=0.02)
