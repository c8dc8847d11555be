"""Run rules on counts agree with the exact limits, and are met by chance no more often than on normal values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from processors.chart_points import Sample, plot
from processors.spc.attribute_charts import AttributeChart, AttributeLimits
from processors.spc.run_length import attribute_run_length
from processors.spc.run_rule_lengths import ORDER_RULES, count_run_rule_length, run_rule_length
from processors.spc.run_rules import NELSON, WESTERN_ELECTRIC, RunRule, RunRules
from schemas.chart_settings import Chart, CountedBaseline, NotOk

ZONES = tuple(rule for rule in RunRule if rule not in ORDER_RULES)


def share(rate: float) -> AttributeLimits:
    return AttributeLimits(chart=AttributeChart.P, rate=rate)


def test_a_point_within_its_exact_limits_is_beyond_no_three_sigma() -> None:
    chart = Chart(
        name="share", figure=NotOk(), chart="p", window_ms=60_000, confidence=0.9973, rules=("western_electric",)
    )
    baseline = CountedBaseline(
        chart="share", settings=chart, subject="station/a", points=30, from_ns=0, to_ns=0, data="made up", frozen_by="M. Keller",
        frozen_at_ns=0, applies_from_ns=0, rate=0.03, counted=180, looked_at=6000,
    )  # fmt: skip
    for count in range(30):
        point = plot(chart, baseline, [Sample(0, 60, 1, count, 200)])
        assert point.outside == ("beyond_3_sigma" in point.rules), count
        assert point.outside == (not 0 <= count <= 14)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.001, 0.999), st.integers(1, 2000), st.floats(1e-6, 1 - 1e-6))
def test_a_count_lies_no_further_out_than_the_normal_value_that_it_stands_for(
    rate: float, size: int, chance: float
) -> None:
    count, score = int(binom.ppf(chance, size, rate)), float(norm.ppf(chance))
    assume(0 < binom.cdf(count, size, rate) < 1)
    place = share(rate).place(count=count, size=size)
    assert place.near * score >= 0 or abs(place.near) < 1e-6
    assert abs(place.near) <= abs(score) + 1e-6
    assert place.far >= abs(score) - 1e-6


@settings(max_examples=30, deadline=None)
@given(st.floats(0.001, 0.999), st.integers(1, 2000))
def test_more_bad_parts_lie_further_up(rate: float, size: int) -> None:
    places = [share(rate).place(count=count, size=size).near for count in range(0, size + 1, max(1, size // 20))]
    assert places == sorted(places)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.002, 0.5), st.sampled_from([5, 20, 50, 200]), st.sampled_from(ZONES))
def test_no_rule_is_met_by_chance_more_often_than_on_normal_values(rate: float, size: int, rule: RunRule) -> None:
    if rule is RunRule.BEYOND_3_SIGMA:
        assert count_run_rule_length([rule], share(rate), size=size, rate=rate) == pytest.approx(
            attribute_run_length(share(rate), size=size, rate=rate), rel=1e-6
        )
    least = run_rule_length([rule], shift=0)
    assert count_run_rule_length([rule], share(rate), size=size, rate=rate) >= least * (1 - 1e-6)


@pytest.mark.parametrize(("size", "rate"), [(200, 0.03), (50, 0.01), (20, 0.01)])
def test_run_lengths_of_counts_are_those_of_the_rules_that_watch_them(size: int, rate: float) -> None:
    rng = np.random.default_rng(4)
    limits, runs, points = share(rate), 300, 0
    shifted = min(0.5, 3 * rate)
    places = [limits.place(count=count, size=size) for count in range(size + 1)]
    for _ in range(runs):
        rules = RunRules(WESTERN_ELECTRIC)
        for count in iter(lambda: int(rng.binomial(size, shifted)), None):
            points += 1
            if rules.add(places[count]):
                break
    expected = count_run_rule_length(WESTERN_ELECTRIC, limits, size=size, rate=shifted)
    assert points / runs == pytest.approx(expected, rel=0.2)


def test_of_large_subgroups_the_rules_cost_what_they_cost_on_normal_values() -> None:
    zones = [rule for rule in NELSON if rule not in ORDER_RULES]
    found = count_run_rule_length(zones, share(0.5), size=1_000_000, rate=0.5)
    assert found == pytest.approx(run_rule_length(zones, shift=0), rel=0.02)


def test_a_rule_that_no_count_can_meet_is_met_never() -> None:
    assert count_run_rule_length([RunRule.FIFTEEN_WITHIN_1_SIGMA], share(0.01), size=5, rate=0.01) == float("inf")
