"""The simulated run: every phase occurs, as strongly as it should, at any length and seed, and the pictures follow."""

import itertools
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.challenges import ChallengePart, Challenges
from schemas.recipes import GoldenInspection, Recipe, View
from simulation.boards import reference
from simulation.challenges import with_challenges
from simulation.defects import DefectKind
from simulation.pictures import PRODUCTS, take_pictures
from simulation.scenario import (
    BAD_BATCH_KIND,
    REWORKED_EVERY,
    PlannedPart,
    comes_back,
    endless_plan,
    lighting_drift_ratio,
    plan,
)

RECIPES = ("board-a@1", "board-b@1", "board-c@1")
runs = st.integers(120, 480)
seeds = st.integers(0, 2**32)


def bad_ratio(parts: list[PlannedPart]) -> float:
    return sum(bool(part.defects) for part in parts) / len(parts)


def by_batch(parts: tuple[PlannedPart, ...]) -> dict[int, list[PlannedPart]]:
    batches: dict[int, list[PlannedPart]] = {}
    for part in parts:
        batches.setdefault(part.batch, []).append(part)
    return batches


def board(name: str) -> Recipe:
    return Recipe(
        name=name,
        views=(View(name="left"), View(name="middle"), View(name="right")),
        inspection=GoldenInspection(),
        classes=(),
    )


@given(parts=runs, seed=seeds)
@settings(max_examples=50, deadline=None)
def test_one_batch_in_the_middle_is_bad_and_the_others_are_not(parts: int, seed: int) -> None:
    line = plan(parts=parts, seed=seed, recipes=RECIPES)
    batches = by_batch(line)
    worst = max(batches, key=lambda batch: bad_ratio(batches[batch]))
    assert bad_ratio(batches[worst]) == pytest.approx(0.4, abs=0.04)
    assert 0.3 * parts < batches[worst][0].number < 0.6 * parts
    others = [part for part in line if part.batch != worst]
    assert bad_ratio(others) == pytest.approx(0.04, abs=0.01)


def test_a_live_line_begins_again_with_other_parts_and_never_repeats_a_number_or_a_batch() -> None:
    parts = list(itertools.islice(endless_plan(parts=40, seed=3, recipes=RECIPES), 120))
    assert parts[:40] == list(plan(parts=40, seed=3, recipes=RECIPES))
    assert [part.number for part in parts] == list(range(120))
    batches = [part.batch for part in parts]
    assert batches == sorted(batches)
    assert set(batches) == set(range(1, 22))
    bad = [{part.number % 40 for part in parts[turn : turn + 40] if part.defects} for turn in (0, 40, 80)]
    assert len({frozenset(numbers) for numbers in bad}) > 1


@given(parts=runs, seed=seeds)
@settings(max_examples=50, deadline=None)
def test_every_recipe_comes_more_than_once_and_a_batch_has_one_recipe(parts: int, seed: int) -> None:
    batches = by_batch(plan(parts=parts, seed=seed, recipes=RECIPES))
    recipes = [{part.recipe for part in batch} for batch in batches.values()]
    assert all(len(recipe) == 1 for recipe in recipes)
    assert all(count >= 2 for count in Counter(recipe.pop() for recipe in recipes).values())
    assert list(batches) == sorted(batches)


@given(parts=runs, seed=seeds)
@settings(max_examples=50, deadline=None)
def test_the_light_falls_only_in_the_last_quarter_and_ends_low(parts: int, seed: int) -> None:
    drift = [part.lighting_drift_ratio for part in plan(parts=parts, seed=seed, recipes=RECIPES)]
    assert drift == sorted(drift)
    assert not any(drift[: int(0.75 * parts)])
    assert sum(ratio == 1.0 for ratio in drift) >= 0.1 * parts


def test_the_bad_batch_suffers_mostly_from_one_kind() -> None:
    batches = by_batch(plan(parts=4000, seed=1, recipes=RECIPES))
    worst = max(batches.values(), key=bad_ratio)
    kinds = Counter(kind for part in worst for kind in part.defects)
    assert kinds[BAD_BATCH_KIND] > 0.6 * kinds.total()
    assert set(kinds) == set(DefectKind)


def test_the_seed_decides_which_parts_are_bad() -> None:
    assert plan(parts=120, seed=1, recipes=RECIPES) == plan(parts=120, seed=1, recipes=RECIPES)
    assert plan(parts=120, seed=1, recipes=RECIPES) != plan(parts=120, seed=2, recipes=RECIPES)


@given(seed=seeds, start=st.integers(1, 1000))
def test_one_in_five_rejected_parts_comes_back(seed: int, start: int) -> None:
    assert sum(comes_back(start + n, seed) for n in range(REWORKED_EVERY)) == 1


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_a_very_short_run_is_a_run_too(parts: int) -> None:
    assert [part.number for part in plan(parts=parts, seed=0, recipes=RECIPES)] == list(range(parts))
    assert 0.0 <= lighting_drift_ratio(parts - 1, parts) <= 1.0


def test_a_run_without_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        plan(parts=0, seed=0, recipes=RECIPES)


def test_the_same_seed_takes_the_same_pictures_and_another_one_others() -> None:
    one, same, other = (
        take_pictures(board("board-a"), defects=(DefectKind.OPEN,), lighting_drift_ratio=0.0, seed=seed)
        for seed in ((1, 5, 1), (1, 5, 1), (2, 5, 1))
    )
    assert one == same
    assert one.jpegs["left"] != other.jpegs["left"]


@pytest.mark.parametrize("name", sorted(PRODUCTS))
def test_the_truth_lists_the_defects_inside_the_pictures_that_show_them(name: str) -> None:
    kinds = (DefectKind.SHORT, DefectKind.PIN_HOLE)
    taken = take_pictures(board(name), defects=kinds, lighting_drift_ratio=0.5, seed=(3,))
    assert Counter(defect.kind for defect in taken.defects) == Counter(kinds)
    for defect in taken.defects:
        image = cv2.imdecode(np.frombuffer(taken.jpegs[defect.view], np.uint8), cv2.IMREAD_GRAYSCALE)
        height, width = image.shape
        x1, y1, x2, y2 = defect.box
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height


def test_views_show_the_drawn_views_in_their_order() -> None:
    taken = take_pictures(board("board-b"), defects=(), lighting_drift_ratio=0.0, seed=(1,))
    for view, drawn in zip(("left", "middle", "right"), ("left", "centre", "right"), strict=True):
        image = cv2.imdecode(np.frombuffer(taken.jpegs[view], np.uint8), cv2.IMREAD_GRAYSCALE)
        golden = reference("power", drawn)
        assert np.corrcoef(image.ravel(), golden.ravel())[0, 1] > 0.9


def test_challenge_parts_come_first_and_on_schedule_and_change_no_other_part() -> None:
    ordinary = plan(parts=20, seed=3, recipes=RECIPES)
    challenges = Challenges(
        parts=(
            ChallengePart(name="open", part_id="CHALLENGE-*", expects=("open",)),
            ChallengePart(name="other", part_id="X", expects=("scratch",)),
            ChallengePart(name="label", labels={"kind": "challenge"}),
        ),
        every_ms=20_000,
    )
    found = list(with_challenges(ordinary, challenges, rate_per_s=1.0, session="s1", recipe=RECIPES[0]))
    assert [part for part in found if not part.challenge] == list(ordinary)
    brought = {place: part for place, part in enumerate(found) if part.challenge}
    assert [(place, part.challenge) for place, part in brought.items()] == [
        (0, "CHALLENGE-s1-1"),
        (11, "CHALLENGE-s1-2"),
    ]
    assert {part.defects for part in brought.values()} == {(DefectKind.OPEN,)}, "the ones that can be drawn"
    assert len({part.number for part in found}) == len(found)
    unscheduled = Challenges(parts=challenges.parts[:1])
    once = list(with_challenges(ordinary, unscheduled, rate_per_s=1.0, session="s1", recipe=RECIPES[0]))
    assert [place for place, part in enumerate(once) if part.challenge] == [0]
    assert list(with_challenges(ordinary, Challenges(), rate_per_s=1.0, session="s", recipe=RECIPES[0])) == list(
        ordinary
    )
