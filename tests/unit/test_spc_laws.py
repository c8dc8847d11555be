"""Laws of the control charts: exact tails, order, frozen records, and the edges of counting."""

from __future__ import annotations

import math
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from processors.spc.attribute_charts import AttributeChart, AttributeLimits
from processors.spc.baseline import BaselinePoint, CountsOfPhaseOne, Exclusion, freeze
from processors.spc.count_limits import poisson_limits
from processors.spc.cusum import Cusum
from processors.spc.dispersion import phase_one
from processors.spc.ewma import Ewma
from processors.spc.measurement_baseline import (
    MeasurementChart,
    MeasurementPoint,
    MeasurementsOfPhaseOne,
    freeze_measurements,
)
from processors.spc.measurement_charts import individuals, xbar_r, xbar_s

HOUR_NS = 3_600_000_000_000
counts_in_sizes = st.lists(
    st.integers(1, 400).flatmap(lambda size: st.tuples(st.integers(0, size), st.just(size))), min_size=1, max_size=40
)


@given(st.floats(0.0, 500.0), st.sampled_from([0.9, 0.99, 0.9973]))
def test_poisson_limits_leave_no_more_than_the_stated_tail_on_each_side(expected: float, confidence: float) -> None:
    lower, upper = poisson_limits(expected=expected, confidence=confidence)
    tail = (1 - confidence) / 2 + 1e-12
    assert 0 <= lower <= upper
    assert poisson.cdf(lower - 1, expected) <= tail
    assert poisson.sf(upper, expected) <= tail
    assert upper == 0 or poisson.sf(upper - 1, expected) >= tail - 2e-12


@given(st.integers(1, 300), st.floats(0.0, 1.0), st.integers(0, 300))
def test_p_and_np_say_the_same(size: int, rate: float, count: int) -> None:
    count = min(count, size)
    p = AttributeLimits(chart=AttributeChart.P, rate=rate).point(count=count, size=size)
    np_ = AttributeLimits(chart=AttributeChart.NP, rate=rate).point(count=count, size=size)
    assert p is not None
    assert np_ is not None
    assert p.outside == np_.outside
    assert p.value * size == pytest.approx(np_.value)
    assert p.upper * size == pytest.approx(np_.upper)


@given(counts_in_sizes, st.randoms(use_true_random=False))
def test_the_order_of_phase_one_points_does_not_change_the_frozen_rate(
    pairs: list[tuple[int, int]], shuffler: random.Random
) -> None:
    points = [BaselinePoint(start_at_ns=n * HOUR_NS, count=c, size=s) for n, (c, s) in enumerate(pairs)]
    shuffled = list(points)
    shuffler.shuffle(shuffled)
    assert frozen(shuffled) == frozen(points)


@given(counts_in_sizes)
def test_a_frozen_baseline_survives_writing_and_reading(pairs: list[tuple[int, int]]) -> None:
    baseline = frozen([BaselinePoint(start_at_ns=n, count=c, size=s) for n, (c, s) in enumerate(pairs)])
    again = msgspec.json.decode(msgspec.json.encode(baseline), type=CountsOfPhaseOne)
    assert again == baseline


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30), st.floats(0.1, 50), st.floats(-1e3, 1e3))
def test_limits_of_measurements_move_and_stretch_with_the_unit(
    values: list[float], scale: float, offset: float
) -> None:
    before, after = individuals(values), individuals([offset + scale * value for value in values])
    assert after.sigma == pytest.approx(scale * before.sigma, abs=1e-6)
    assert after.location.upper == pytest.approx(offset + scale * before.location.upper, abs=1e-6)


def test_homogeneous_counts_get_exact_limits_and_wandering_ones_laneys() -> None:
    rng = np.random.default_rng(7)
    sizes = [5000] * 60
    steady, _ = phase_one(chart=AttributeChart.P, counts=rng.binomial(5000, 0.05, 60).tolist(), sizes=sizes)
    assert steady.sigma_z is None
    rates = np.clip(rng.normal(0.05, 0.01, 60), 0, 1)
    wandering, found = phase_one(chart=AttributeChart.P, counts=rng.binomial(5000, rates).tolist(), sizes=sizes)
    assert found.p_value is not None
    assert found.p_value < 0.01
    # The rate's own spread is 0.01 beside a binomial one of 0.0031: sqrt(0.01^2 + 0.0031^2) / 0.0031 = 3.4.
    assert wandering.sigma_z == pytest.approx(3.4, rel=0.2)
    point = wandering.point(count=300, size=5000)
    assert point is not None
    assert not point.outside  # 6 %, one standard deviation of the wandering: exact limits would call it out
    exact = AttributeLimits(chart=AttributeChart.P, rate=wandering.rate).point(count=300, size=5000)
    assert exact is not None
    assert exact.outside


def test_a_rate_that_wanders_wildly_leaves_too_few_points_inside_to_test_and_gets_laneys() -> None:
    rng = np.random.default_rng(12)
    counts = rng.binomial(5000, rng.uniform(0.05, 0.45, 20)).tolist()
    limits, found = phase_one(chart=AttributeChart.P, counts=counts, sizes=[5000] * 20)
    assert (found.outside_exact > 15, found.p_value_without) == (True, None)
    assert limits.sigma_z is not None


def test_laneys_factor_by_hand() -> None:
    # Rates 0.10, 0.12, ... of 100 parts each, mean 0.11: sigma = sqrt(0.11 * 0.89 / 100), z jumps by 0.02 / sigma every time.
    _, found = phase_one(chart=AttributeChart.P, counts=[10, 12] * 10, sizes=[100] * 20)
    assert found.sigma_z == pytest.approx(0.02 / math.sqrt(0.11 * 0.89 / 100) / 1.128)
    assert not found.overdispersed  # calmer than chance


def test_the_dispersion_test_calls_one_in_a_hundred_homogeneous_baselines_out() -> None:
    rng = np.random.default_rng(11)
    called = 0
    for _ in range(1000):
        counts = rng.poisson(20, 30)
        _, found = phase_one(chart=AttributeChart.C, counts=counts.tolist(), sizes=[1] * 30)
        called += found.p_value is not None and found.p_value < 0.01
    assert 2 <= called <= 25  # 10 expected


def test_too_few_or_too_rare_counts_never_choose_laney() -> None:
    _, few = phase_one(chart=AttributeChart.P, counts=[0, 50, 0, 50], sizes=[100] * 4)
    _, rare = phase_one(chart=AttributeChart.P, counts=[0] * 29 + [9], sizes=[20] * 30)
    assert (few.p_value, rare.p_value) == (None, None)


@pytest.mark.parametrize("chart", list(AttributeChart))
def test_nothing_looked_at_is_no_point(chart: AttributeChart) -> None:
    assert AttributeLimits(chart=chart, rate=0.1).point(count=0, size=0) is None


def test_one_part_all_bad_none_bad_and_a_billion() -> None:
    one = AttributeLimits(chart=AttributeChart.P, rate=0.01).point(count=1, size=1)
    assert one is not None
    assert (one.upper, one.outside) == (1.0, False)  # one bad part of one is no signal at 1 %
    all_bad = AttributeLimits(chart=AttributeChart.P, rate=1.0).point(count=50, size=50)
    assert all_bad is not None
    assert (all_bad.lower, all_bad.upper, all_bad.outside) == (1.0, 1.0, False)
    none_bad = AttributeLimits(chart=AttributeChart.P, rate=0.0).point(count=1, size=10**9)
    assert none_bad is not None
    assert none_bad.outside
    billion = AttributeLimits(chart=AttributeChart.U, rate=0.05).point(count=50_000_000, size=10**9)
    assert billion is not None
    assert not billion.outside
    assert billion.upper - billion.centre == pytest.approx(3 * math.sqrt(0.05 / 1e9), rel=1e-3)


def test_what_cannot_be_counted_is_refused() -> None:
    limits = AttributeLimits(chart=AttributeChart.P, rate=0.1)
    for count, size in ((2, 1), (-1, 5), (0, -1)):
        with pytest.raises(ValueError, match="expected"):
            limits.point(count=count, size=size)
    with pytest.raises(ValueError, match="at least one point"):
        phase_one(chart=AttributeChart.P, counts=[0], sizes=[0])
    with pytest.raises(ValueError, match="one size"):
        xbar_r([[1, 2], [1, 2, 3]])
    with pytest.raises(ValueError, match="finite"):
        xbar_s([[1, math.nan], [1, 2]])
    with pytest.raises(ValueError, match="finite"):
        Ewma(target=0, sigma=1).add(math.inf)
    with pytest.raises(ValueError, match="finite"):
        Cusum(target=0, sigma=1).add(math.nan)


def test_a_baseline_names_who_froze_it_and_what_was_left_out() -> None:
    points = [BaselinePoint(start_at_ns=n * HOUR_NS, count=2, size=100) for n in range(20)]
    points.append(BaselinePoint(start_at_ns=20 * HOUR_NS, count=60, size=100))
    cause = Exclusion(start_at_ns=20 * HOUR_NS, cause="lamp replaced, ticket 4711")
    baseline = frozen(points, excluded=[cause])
    assert (baseline.rate, baseline.points, baseline.counted, baseline.excluded) == (0.02, 20, 40, (cause,))
    assert (baseline.frozen_by, baseline.from_ns, baseline.to_ns) == ("quality engineer", 0, 19 * HOUR_NS)
    with pytest.raises(ValueError, match="name of who"):
        frozen(points, frozen_by=" ")
    with pytest.raises(ValueError, match="cause"):
        frozen(points, excluded=[Exclusion(start_at_ns=0, cause="")])
    with pytest.raises(ValueError, match="before the freezing"):
        frozen(points, frozen_at_ns=0)


def test_a_baseline_of_measurements_is_of_its_points_in_order_of_time() -> None:
    rng = np.random.default_rng(13)
    points = [
        MeasurementPoint(at_ns=n * HOUR_NS, values=tuple(rng.normal(20, 2, 4).tolist())) for n in reversed(range(50))
    ]
    baseline = frozen_measurements(MeasurementChart.XBAR_S, points)
    assert baseline.limits == xbar_s([point.values for point in reversed(points)])
    assert (baseline.subgroups, baseline.subgroup_size, baseline.from_ns) == (50, 4, 0)
    assert baseline.limits.sigma == pytest.approx(2, rel=0.15)
    again = msgspec.json.decode(msgspec.json.encode(baseline), type=MeasurementsOfPhaseOne)
    assert again == baseline
    with pytest.raises(ValueError, match="one value per point"):
        frozen_measurements(MeasurementChart.INDIVIDUALS, points)


def test_moving_ranges_of_a_baseline_are_those_of_neighbours_in_time() -> None:
    points = [MeasurementPoint(at_ns=n, values=(float(n % 2),)) for n in (3, 0, 2, 1, 5, 4)]
    baseline = frozen_measurements(MeasurementChart.INDIVIDUALS, points)
    assert baseline.limits.spread.centre == 1.0
    with pytest.raises(ValueError, match="cause"):
        frozen_measurements(MeasurementChart.INDIVIDUALS, points, excluded=[Exclusion(start_at_ns=77, cause="?")])


def frozen_measurements(
    chart: MeasurementChart, points: list[MeasurementPoint], *, excluded: list[Exclusion] | None = None
) -> MeasurementsOfPhaseOne:
    return freeze_measurements(
        subject="press-1/pressure, bar",
        chart=chart,
        points=points,
        excluded=excluded or [],
        data="sensors, press-1",
        frozen_by="process engineer",
        frozen_at_ns=1000 * HOUR_NS,
    )


def frozen(
    points: list[BaselinePoint],
    *,
    excluded: list[Exclusion] | None = None,
    frozen_by: str = "quality engineer",
    frozen_at_ns: int = 1000 * HOUR_NS,
) -> CountsOfPhaseOne:
    baseline, _ = freeze(
        subject="station/aoi-1",
        chart=AttributeChart.P,
        points=points,
        excluded=excluded or [],
        confidence=0.9973,
        data="statistics, windows of 1 h",
        frozen_by=frozen_by,
        frozen_at_ns=frozen_at_ns,
    )
    return baseline
