"""T2 with residual over an asset's channels: its laws, one alert per episode with the channel that drove it, and a real pump."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import f as f_distribution

from benchmarks.skab import score
from processors.asset_watch import AssetWatch, learn
from processors.spc.multivariate import MultivariateModel

CHANNELS = ("vibration", "current", "pressure", "temperature")
SKAB = Path(__file__).parents[3] / "shared" / "data" / "skab"


def normal_rows(count: int, seed: int) -> np.ndarray:
    """Three channels with a level, two of them related, and a temperature that rises all the time."""
    rng = np.random.default_rng(seed)
    load = rng.normal(0, 1, count)
    return np.column_stack(
        [
            0.2 + 0.01 * rng.normal(0, 1, count),
            5 + 0.3 * load + 0.1 * rng.normal(0, 1, count),
            2 + 0.1 * load + 0.03 * rng.normal(0, 1, count),
            40 + 0.02 * np.arange(count) + 0.1 * rng.normal(0, 1, count),
        ]
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_t2_of_all_components_is_invariant_under_affine_maps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 1, (60, 3)) @ rng.normal(0, 1, (3, 3))
    stretch = rng.normal(0, 1, (3, 3)) + 3 * np.eye(3)
    offset = rng.normal(0, 5, 3)
    plain = MultivariateModel.fit(rows, retained_ratio=1.0)
    moved = MultivariateModel.fit(rows @ stretch + offset, retained_ratio=1.0)
    new = rng.normal(0, 2, 3)
    assert moved.distances(new @ stretch + offset).t2 == pytest.approx(plain.distances(new).t2, rel=1e-5)


def test_t2_of_all_components_is_the_mahalanobis_distance_and_channels_add_up_to_it() -> None:
    rows = np.random.default_rng(1).normal(0, 1, (200, 4)) @ np.diag([1, 2, 3, 4])
    model = MultivariateModel.fit(rows, retained_ratio=1.0)
    new = np.array([3.0, -1.0, 2.0, 9.0])
    centred = new - rows.mean(axis=0)
    found = model.distances(new)
    assert found.t2 == pytest.approx(centred @ np.linalg.inv(np.cov(rows.T)) @ centred)
    assert found.contributions.sum() == pytest.approx(found.t2)
    assert found.q == pytest.approx(0, abs=1e-9)
    # NIST/SEMATECH e-Handbook 6.5.4.3.4: p (m + 1) (m - 1) / (m^2 - m p) F(alpha; p, m - p).
    assert model.t2_limit == pytest.approx(4 * 201 * 199 / (200**2 - 200 * 4) * f_distribution.isf(0.00135, 4, 196))


def test_both_limits_together_signal_about_as_often_as_stated() -> None:
    rng = np.random.default_rng(2)
    mix = np.array([[1, 0.9, 0.2], [0, 0.3, 0.5], [0, 0, 0.4]])
    model = MultivariateModel.fit(rng.normal(0, 1, (2000, 3)) @ mix, retained_ratio=0.8)
    assert model.retained < 3
    outside = sum(model.distances(row).outside for row in rng.normal(0, 1, (20_000, 3)) @ mix)
    assert 25 <= outside <= 95  # 54 expected


@pytest.mark.parametrize("residual", [[1.0] + [0.05] * 20, [1.0] + [0.02] * 60, [1.0, 0.5, 0.1, 0.01], [1.0] * 5])
def test_the_limit_of_the_residual_is_that_of_its_distribution(residual: list[float]) -> None:
    """One component that carries most of the variance, and a residual of one large and many small ones: 22 channels and more."""
    rng = np.random.default_rng(3)
    scales = np.sqrt([100.0, *residual])
    model = MultivariateModel.fit(rng.normal(0, 1, (20_000, len(scales))) * scales, retained_ratio=0.9)
    assert model.retained == 1
    q = (rng.normal(0, 1, (200_000, len(residual))) ** 2) @ np.array(residual)
    assert np.mean(q > model.q_limit) == pytest.approx(0.00135, rel=0.4)


def test_a_broken_relation_is_seen_by_the_residual_alone() -> None:
    rng = np.random.default_rng(3)
    load = rng.normal(0, 1, 500)
    rows = np.column_stack([load, load]) + rng.normal(0, 0.05, (500, 2))
    model = MultivariateModel.fit(rows, retained_ratio=0.9)
    apart = model.distances(np.array([0.5, -0.5]))  # each channel well within its own spread
    assert apart.outside
    assert apart.t2 < model.t2_limit
    assert apart.q > model.q_limit


def test_what_leaves_normal_operation_is_outside_with_the_channel_that_drove_it_until_it_was_inside_for_a_while() -> (
    None
):
    baseline = learn(CHANNELS, normal_rows(400, 4))
    assert baseline.left_out == ("temperature",)
    watch = AssetWatch(baseline)
    live = normal_rows(300, 5)
    live[100:160, 0] += 0.05  # five standard deviations of the vibration
    judged = [watch.take(row) for row in live]
    outside = [number for number, each in enumerate(judged) if each.distances.outside]
    assert 100 <= outside[0] <= 104
    assert watch.driver(judged[outside[0]].distances).channel == "vibration"
    assert watch.driver(judged[outside[0]].distances).share > 0.5
    assert 190 <= next(number for number in range(outside[0], 300) if judged[number].is_normal) <= 220


def test_what_is_no_number_is_refused_and_changes_nothing() -> None:
    watch = AssetWatch(learn(CHANNELS, normal_rows(400, 6)))
    row = normal_rows(1, 7)[0]
    before = watch.take(row).distances
    with pytest.raises(ValueError, match="finite"):
        watch.take(np.full(4, np.nan))
    fresh = AssetWatch(watch.baseline)
    fresh.take(row)
    assert watch.take(row).distances.t2 == fresh.take(row).distances.t2
    assert before.t2 != watch.take(row).distances.t2


def test_a_baseline_that_holds_nothing_to_learn_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 100"):
        learn(CHANNELS, normal_rows(99, 8))
    rising = np.arange(400.0)[:, None]
    with pytest.raises(ValueError, match="keeps a level"):
        learn(("temperature",), rising)
    with pytest.raises(ValueError, match="keeps a level"):
        learn(("stuck",), np.ones((400, 1)))
    many = np.random.default_rng(9).normal(0, 1, (100, 30))
    with pytest.raises(ValueError, match="independent rows"):
        learn([f"c{number}" for number in range(30)], many)
    with pytest.raises(ValueError, match="vary"):
        MultivariateModel.fit(np.ones((50, 2)))


@pytest.mark.skipif(not SKAB.is_dir(), reason="no SKAB beside the checkout")
def test_the_pump_of_skab_is_watched_as_well_as_published() -> None:
    pooled = score(SKAB)
    assert pooled is not None
    assert pooled.files == 20
    assert pooled.f1 >= 0.78
    assert pooled.false_alarm_ratio <= 0.20
    assert pooled.found == pooled.files
