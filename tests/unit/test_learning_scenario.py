"""The parts of `demo-learning`: the same share of bad ones throughout, and a lamp that fails when it was said to."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.learning_scenario import FAILED_RATIO, KINDS, LOT_PARTS, RAMP_PARTS, lamp_ratio, learning_plan

RECIPES = ("board-a@1", "board-b@1")


@given(lots=st.integers(1, 60), seed=st.integers(0, 2**32), lamp_fails_at=st.integers(0, 200))
@settings(max_examples=50, deadline=None)
def test_one_board_of_each_lot_is_bad_whatever_the_light(lots: int, seed: int, lamp_fails_at: int) -> None:
    parts = list(learning_plan(parts=lots * LOT_PARTS, seed=seed, recipes=RECIPES, lamp_fails_at=lamp_fails_at))
    for batch, lot in itertools.groupby(parts, key=lambda part: part.batch):
        members = list(lot)
        assert len(members) == LOT_PARTS
        assert sum(bool(part.defects) for part in members) == 1
        assert {part.recipe for part in members} == {RECIPES[(batch - 1) % len(RECIPES)]}
    assert {kind for part in parts for kind in part.defects} <= set(KINDS)
    assert [part.number for part in parts] == list(range(len(parts)))


@given(number=st.integers(0, 500), lamp_fails_at=st.integers(0, 400))
def test_the_light_stays_until_the_lamp_fails_then_falls_and_never_comes_back(number: int, lamp_fails_at: int) -> None:
    ratio = lamp_ratio(number, lamp_fails_at)
    assert ratio == 0.0 if number <= lamp_fails_at else ratio > 0.0
    assert lamp_ratio(number + 1, lamp_fails_at) >= ratio
    assert lamp_ratio(lamp_fails_at + RAMP_PARTS, lamp_fails_at) == FAILED_RATIO


def test_a_longer_run_begins_with_the_same_parts() -> None:
    short = list(learning_plan(parts=20, seed=3, recipes=RECIPES, lamp_fails_at=10))
    long = learning_plan(parts=10_000_000, seed=3, recipes=RECIPES, lamp_fails_at=10)
    assert list(itertools.islice(long, 20)) == short


@pytest.mark.parametrize(("parts", "recipes", "lamp_fails_at"), [(0, RECIPES, 0), (1, (), 0), (1, RECIPES, -1)])
def test_a_run_that_cannot_be_is_refused_before_its_first_part(
    parts: int, recipes: tuple[str, ...], lamp_fails_at: int
) -> None:
    with pytest.raises(ValueError, match="expected at least one part"):
        learning_plan(parts=parts, seed=1, recipes=recipes, lamp_fails_at=lamp_fails_at)
