"""Which recipes stay loaded: whatever comes in whatever order, what is needed is kept, and the rest is bounded."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from processors.recipe_keeping import RecipeKeeping

RECIPES = tuple(f"board-{number}@1" for number in range(22))
AT_MOST = 4
BELT_S = 3.0
NAMES = st.sampled_from([*RECIPES, "unknown@1"])


def keeping(*, at_most: int = AT_MOST, ahead: bool = True) -> RecipeKeeping:
    return RecipeKeeping(recipes=RECIPES, at_most=at_most, belt_s=BELT_S, ahead=ahead)


class AnyDay(RuleBasedStateMachine):
    """PLCs select and announce, frames come and go, time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = keeping()
        self.now_s = 100.0
        self.selected: frozenset[str] = frozenset()
        self.coming: frozenset[str] = frozenset()
        self.frames: list[str] = []
        self.last_s: dict[str, float] = {}

    @rule(selected=st.frozensets(NAMES, max_size=2), coming=st.frozensets(NAMES, max_size=2))
    def wish(self, selected: frozenset[str], coming: frozenset[str]) -> None:
        self.last_s |= dict.fromkeys(self.selected, self.now_s)
        self.kept.wish(selected=selected, coming=coming, now_s=self.now_s)
        self.selected, self.coming = selected & set(RECIPES), coming & set(RECIPES)
        self.last_s |= dict.fromkeys(self.selected, self.now_s)

    @rule(recipe=st.sampled_from(RECIPES))
    def frame_comes(self, recipe: str) -> None:
        self.kept.begin(recipe, now_s=self.now_s)
        self.frames.append(recipe)
        self.last_s[recipe] = self.now_s

    @precondition(lambda self: self.frames)
    @rule(data=st.data())
    def frame_is_done(self, data: Any) -> None:
        recipe = data.draw(st.sampled_from(self.frames))
        self.frames.remove(recipe)
        self.kept.end(recipe, now_s=self.now_s)
        self.last_s[recipe] = self.now_s

    @rule(seconds=st.floats(0.1, 10))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def what_is_needed_is_kept(self) -> None:
        wanted = self.kept.wanted(now_s=self.now_s)
        on_the_belt = {recipe for recipe, at_s in self.last_s.items() if self.now_s - at_s <= BELT_S}
        assert self.selected | self.coming | set(self.frames) | on_the_belt <= set(wanted)

    @invariant()
    def nothing_stands_twice_and_no_more_is_kept_than_allowed_or_needed(self) -> None:
        wanted = self.kept.wanted(now_s=self.now_s)
        assert len(set(wanted)) == len(wanted)
        assert set(wanted) <= set(RECIPES)
        assert len(wanted) == max(AT_MOST, len(self.kept.needed(now_s=self.now_s)))

    @invariant()
    def what_is_selected_comes_first(self) -> None:
        wanted = self.kept.wanted(now_s=self.now_s)
        assert set(wanted[: len(self.selected)]) == self.selected


TestAnyDay = AnyDay.TestCase


def test_the_order_is_selected_then_waiting_then_announced_then_used_last_then_the_plant_files() -> None:
    kept = keeping(at_most=6)
    kept.begin("board-9@1", now_s=0.0)
    kept.end("board-9@1", now_s=0.0)
    kept.begin("board-7@1", now_s=50.0)
    kept.wish(selected=["board-5@1"], coming=["board-8@1", "unknown@1"], now_s=60.0)
    found = kept.wanted(now_s=60.0)
    assert found == ("board-5@1", "board-7@1", "board-8@1", "board-9@1", "board-0@1", "board-1@1")


def test_a_product_that_was_changed_from_is_kept_while_its_parts_are_on_the_belt() -> None:
    kept = keeping(at_most=1)
    kept.wish(selected=["board-1@1"], coming=(), now_s=0.0)
    kept.wish(selected=["board-1@1"], coming=(), now_s=60.0)
    kept.wish(selected=["board-2@1"], coming=(), now_s=61.0)
    assert kept.wanted(now_s=61.0 + BELT_S) == ("board-2@1", "board-1@1")
    assert kept.wanted(now_s=61.1 + BELT_S) == ("board-2@1",)


@given(used=st.lists(st.sampled_from(RECIPES), min_size=1))
def test_of_recipes_that_nobody_selects_those_used_last_are_kept(used: list[str]) -> None:
    kept = keeping(ahead=False)
    for number, recipe in enumerate(used):
        kept.begin(recipe, now_s=float(number))
        kept.end(recipe, now_s=float(number))
    last_first = list(dict.fromkeys(reversed(used)))
    assert list(kept.wanted(now_s=1e6)) == last_first[:AT_MOST]


def test_a_stage_that_loads_nothing_ahead_wants_nothing_at_its_start() -> None:
    assert keeping(ahead=False).wanted(now_s=0.0) == ()
    assert keeping().wanted(now_s=0.0) == RECIPES[:AT_MOST]
