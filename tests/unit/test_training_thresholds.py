"""Thresholds and figures: costs decide, good parts alone give no low threshold, intervals hold what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.figures import auroc, bootstrapped, wilson
from training.thresholds import above_good, choose_threshold

SCORES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=30)


@given(scored=SCORES, escape_cost=st.floats(0.1, 20))
def test_no_other_threshold_costs_less(scored: list[tuple[float, bool]], escape_cost: float) -> None:
    scores, bad = [score for score, _ in scored], [is_bad for _, is_bad in scored]
    if all(bad) or not any(bad):
        return
    chosen = choose_threshold(scores, bad, escape_cost=escape_cost, overkill_cost=1, otherwise=0.5)

    def cost(value: float) -> float:
        escapes = sum(is_bad and score < value for score, is_bad in scored)
        return escape_cost * escapes + sum(not is_bad and score >= value for score, is_bad in scored)

    least = min(cost(value) for value in [*scores, 2.0])
    assert escape_cost * chosen.escapes + chosen.overkill <= least + 1e-6


def test_neighbouring_scores_are_told_apart() -> None:
    chosen = choose_threshold([0.0, 5e-324], [False, True], escape_cost=1, overkill_cost=1, otherwise=0.5)
    assert (chosen.escapes, chosen.overkill) == (0, 0)


def test_dear_escapes_lower_the_threshold() -> None:
    scores, bad = [0.1, 0.2, 0.6, 0.4, 0.8, 0.9], [False, False, False, True, True, True]
    dear = choose_threshold(scores, bad, escape_cost=10, overkill_cost=1, otherwise=0.5)
    cheap = choose_threshold(scores, bad, escape_cost=1, overkill_cost=10, otherwise=0.5)
    assert (dear.escapes, dear.overkill) == (0, 1)
    assert (cheap.escapes, cheap.overkill) == (1, 0)
    assert dear.value < cheap.value


@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_good_parts_alone_never_give_a_threshold_below_the_highest(scores: list[float]) -> None:
    assert above_good(scores) >= min(max(scores), 1 - 1e-6)


def test_one_outlier_among_many_good_parts_does_not_make_the_threshold() -> None:
    generator = np.random.default_rng(4)
    scores = (1 / (1 + np.exp(-generator.normal(-2, 0.5, 400)))).tolist()
    assert above_good([*scores, 0.9999]) < 0.9


@pytest.mark.parametrize("count", [10, 20, 50, 200, 400])
def test_good_parts_alone_reject_few_new_good_ones(count: int) -> None:
    generator = np.random.default_rng(count)
    rejected = []
    for _ in range(200):
        logits = generator.gumbel(-2, 0.7, count + 200)
        scores = 1 / (1 + np.exp(-logits))
        rejected.append(float(np.mean(scores[count:] >= above_good(scores[:count].tolist()))))
    assert np.mean(rejected) < 0.02


def test_auroc_counts_ties_half() -> None:
    assert auroc([0.1, 0.2, 0.8, 0.9], [False, False, True, True]) == 1.0
    assert auroc([0.5, 0.5], [False, True]) == 0.5
    assert auroc([0.5, 0.6], [True, True]) is None


def test_wilson_of_no_failure_in_ten_reaches_far() -> None:
    low, high = wilson(0, 10) or (1, 0)
    assert low == 0.0
    assert high == pytest.approx(0.2775, abs=1e-3)  # the published example of R. G. Newcombe, Stat. Med. 1998
    assert wilson(0, 0) is None


def test_the_bootstrap_holds_the_mean_of_a_sample() -> None:
    values = np.random.default_rng(3).normal(5, 1, 100)
    low, high = bootstrapped(lambda indices: float(values[indices].mean()), 100) or (0, 0)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / 10, rel=0.3)
