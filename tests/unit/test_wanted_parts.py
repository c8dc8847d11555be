"""What becomes of a trigger and the question for its picture find each other, in either order, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.trigger_binding import Bound, TriggerBinding, Unbound
from gateways.wanted_parts import KEPT, WantedParts


@given(st.lists(st.booleans(), max_size=KEPT), st.randoms())
def test_each_question_has_its_own_outcome_in_whatever_order_they_come(wanted: list[bool], order: object) -> None:
    parts: WantedParts[str] = WantedParts()
    numbers = [
        parts.triggered(trigger_count=1, seen_s=float(place), wanted=found) for place, found in enumerate(wanted)
    ]
    told: dict[int, str | None] = {}
    steps = [("settle", place) for place in range(len(wanted))]
    steps += [("ask", place) for place, found in enumerate(wanted) if found]
    order.shuffle(steps)  # type: ignore[attr-defined]
    for step, place in steps:
        if step == "ask":
            outcome = parts.asked(place, trigger_count=1, seen_s=float(place))
            if outcome is not None:
                told[place] = outcome
        elif (question := parts.settled(numbers[place], f"of {place}")) is not None:
            told[question] = f"of {place}"
    assert told == {place: f"of {place}" for place, found in enumerate(wanted) if found}


def test_no_more_outcomes_wait_than_agreed_and_what_is_not_known_is_said() -> None:
    parts: WantedParts[str] = WantedParts()
    for count in range(KEPT + 1):
        assert parts.settled(parts.triggered(trigger_count=count, seen_s=1.0, wanted=True), str(count)) is None
    with pytest.raises(LookupError, match="trigger 0 was not told, or asked about too late"):
        parts.asked(1, trigger_count=0, seen_s=1.0)
    assert parts.asked(2, trigger_count=KEPT, seen_s=1.0) == str(KEPT)
    with pytest.raises(LookupError):
        parts.asked(3, trigger_count=1, seen_s=2.0)  # that count, of a PLC that counted anew


def test_what_becomes_of_parts_that_nobody_wants_takes_no_room_from_the_others() -> None:
    parts: WantedParts[str] = WantedParts()
    parts.settled(parts.triggered(trigger_count=1, seen_s=1.0, wanted=True), "wanted")
    for count in range(2, KEPT + 3):
        parts.settled(parts.triggered(trigger_count=count, seen_s=1.0, wanted=False), "not wanted")
    assert parts.asked(1, trigger_count=1, seen_s=1.0) == "wanted"


@given(st.lists(st.booleans(), min_size=4, max_size=60))
def test_products_without_the_camera_do_not_cost_the_others_their_pictures(uses_camera: list[bool]) -> None:
    """A wired camera exposes at each part; products come in random order, and some do not use it."""
    parts: WantedParts[Bound[int] | Unbound] = WantedParts()
    binding: TriggerBinding[int] = TriggerBinding(window_s=0.1)
    shown: dict[int, int] = {}
    for count, wanted in enumerate(uses_camera, 1):
        at_s = float(count)
        part = parts.triggered(trigger_count=count, seen_s=at_s, wanted=wanted)
        binding.trigger(part, trigger_count=count, seen_s=at_s)
        if wanted:
            assert parts.asked(count, trigger_count=count, seen_s=at_s) is None
        binding.frame(count + 7, count, exposed_s=at_s - 0.03)
        for outcome in binding.outcomes(now_s=at_s + 0.5):
            question = parts.settled(outcome.part, outcome)
            if question is not None and isinstance(outcome, Bound):
                shown[question] = outcome.shown
    assert shown == {count: count for count, wanted in enumerate(uses_camera, 1) if wanted and count > 1}
