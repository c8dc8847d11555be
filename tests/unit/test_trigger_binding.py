"""Counters bind frames to parts: whatever is lost, doubled, late or reset, no part ever gets another part's picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from gateways.trigger_binding import WRAP, Bound, TriggerBinding, Unbound

W = 0.1


class Exposure(NamedTuple):
    """`after_s` after its trigger; arrives `late_s` later still, or never; `damaged`: without pixels."""

    after_s: float = 0.0
    late_s: float = 0.0
    lost: bool = False
    damaged: bool = False


@dataclass(frozen=True)
class Step:
    """A part that comes `gap_s` after the one before: when its trigger is seen, what the camera exposes, what goes wrong before."""

    gap_s: float
    seen_after_s: float = 0.05
    exposures: tuple[Exposure, ...] = (Exposure(),)
    noticed_late: bool = False
    camera_restarts: bool = False
    plc_restarts: bool = False


def played(steps: list[Step], *, first_id: int = 1, first_count: int = 1) -> tuple[dict[int, int | str], list[bool]]:
    """Per part the part that its picture shows, or why it has none; and whether the binding was synchronised at each part's trigger."""
    events: list[tuple[float, int, str, tuple[int, ...]]] = []
    now_s, frame_id, count = 100.0, first_id, first_count
    for part, step in enumerate(steps):
        now_s += step.gap_s
        frame_id = 1 if step.camera_restarts else frame_id
        count = 1 if step.plc_restarts else count
        events.append((now_s + step.seen_after_s, 0, "trigger", (part, count, step.noticed_late)))
        count += 1
        for exposure in step.exposures:
            if not exposure.lost:
                at_s = now_s + exposure.after_s
                seen = (part, frame_id, int(exposure.damaged), int(1e6 * at_s))
                events.append((at_s + exposure.late_s, 1, "frame", seen))
            frame_id = frame_id % WRAP + 1
    binding: TriggerBinding[int] = TriggerBinding(window_s=W)
    told: dict[int, int | str] = {}
    synchronised = []
    for at_s, _, kind, values in sorted(events):
        settle(binding, at_s, told)
        if kind == "trigger":
            synchronised.append(binding.synchronised)
            binding.trigger(values[0], trigger_count=values[1], seen_s=None if values[2] else at_s)
        else:
            part, number, damaged, exposed_us = values
            binding.frame(number, None if damaged else part, exposed_s=exposed_us / 1e6)
        settle(binding, at_s, told)
    settle(binding, now_s + 100, told)
    return told, synchronised


def settle(binding: TriggerBinding[int], now_s: float, told: dict[int, int | str]) -> None:
    for outcome in binding.outcomes(now_s=now_s):
        assert outcome.part not in told, "each part is settled once"
        told[outcome.part] = outcome.shown if isinstance(outcome, Bound) else outcome.why


def pictures(told: dict[int, int | str]) -> dict[int, int]:
    return {part: shown for part, shown in told.items() if isinstance(shown, int)}


lateness = st.one_of(st.just(0.0), st.floats(0, 20 * W))
exposure = st.builds(Exposure, st.floats(0, 0.09), lateness, st.booleans(), st.booleans())
troubled = st.builds(
    Step,
    gap_s=st.floats(2.01 * W, 10 * W),
    seen_after_s=st.floats(0, 0.09),
    exposures=st.one_of(st.just((Exposure(),)), st.lists(exposure, max_size=3).map(tuple)),
    noticed_late=st.sampled_from([False] * 4 + [True]),
    camera_restarts=st.sampled_from([False] * 9 + [True]),
    plc_restarts=st.sampled_from([False] * 9 + [True]),
)


TWICE = (Exposure(), Exposure())


@given(st.lists(troubled, max_size=40), st.sampled_from([1, 40_000, WRAP - 3]))
@example([*[Step(gap_s=1.0)] * 12, Step(gap_s=1.0, camera_restarts=True), Step(gap_s=1.0, exposures=TWICE),
          Step(gap_s=1.0, camera_restarts=True), Step(gap_s=1.0)], 1)  # fmt: skip
def test_whatever_is_lost_doubled_late_or_reset_no_part_gets_another_parts_picture(
    steps: list[Step], first_id: int
) -> None:
    told, _ = played(steps, first_id=first_id)
    assert set(told) == set(range(len(steps))), "every part is settled"
    assert all(part == shown for part, shown in pictures(told).items())


dense = st.builds(
    Step,
    gap_s=st.floats(0.001, 5 * W),
    seen_after_s=st.floats(0, 0.09),
    exposures=st.builds(Exposure, st.just(0.0), lateness, st.booleans()).map(lambda one: (one,)),
)


@given(st.lists(dense, max_size=40))
def test_parts_closer_than_the_window_are_told_apart_as_long_as_the_camera_counts_every_trigger(
    steps: list[Step],
) -> None:
    told, _ = played(steps)
    assert set(told) == set(range(len(steps)))
    assert all(part == shown for part, shown in pictures(told).items())


STEADY = Step(gap_s=1.0)


@given(st.sampled_from([1, 7, WRAP - 5, WRAP]), st.integers(0, 2**31))
def test_without_trouble_the_second_part_has_its_picture_and_every_one_after_it(
    first_id: int, first_count: int
) -> None:
    told, _ = played([STEADY] * 12, first_id=first_id, first_count=first_count)
    assert pictures(told) == {part: part for part in range(1, 12)}
    assert "a second frame has to confirm it" in str(told[0])


def after(trouble: Step) -> dict[int, int | str]:
    """Ten parts, the sixth in trouble."""
    return played([*[STEADY] * 5, trouble, *[STEADY] * 4])[0]


def test_a_frame_lost_on_the_way_costs_its_part_alone() -> None:
    told = after(Step(gap_s=1.0, exposures=(Exposure(lost=True),)))
    assert set(pictures(told)) == {1, 2, 3, 4, 6, 7, 8, 9}
    assert "no frame with the counter of trigger 6: lost, or not exposed" in str(told[5])


def test_a_damaged_or_late_frame_costs_its_part_alone() -> None:
    told = after(Step(gap_s=1.0, exposures=(Exposure(damaged=True),)))
    assert set(pictures(told)) == {1, 2, 3, 4, 6, 7, 8, 9}
    assert "arrived damaged" in str(told[5])
    told = after(Step(gap_s=1.0, exposures=(Exposure(late_s=1.3),)))
    assert set(pictures(told)) == {1, 2, 3, 4, 6, 7, 8, 9}


def test_a_trigger_that_the_camera_skipped_is_found_out_at_the_next_part_and_synchronised_at_the_one_after() -> None:
    told = after(Step(gap_s=1.0, exposures=()))
    assert set(pictures(told)) == {1, 2, 3, 4, 7, 8, 9}
    assert "was not exposed at that trigger" in str(told[6])


def test_a_double_exposure_is_found_out_at_the_next_part_and_synchronised_at_the_one_after() -> None:
    told = after(Step(gap_s=1.0, exposures=(Exposure(), Exposure(after_s=0.03))))
    assert set(pictures(told)) == {1, 2, 3, 4, 5, 7, 8, 9}
    assert "was not exposed at that trigger" in str(told[6])


def test_frame_ids_or_trigger_counts_that_begin_again_cost_one_part() -> None:
    for trouble in (Step(gap_s=1.0, camera_restarts=True), Step(gap_s=1.0, plc_restarts=True)):
        assert set(pictures(after(trouble))) == {1, 2, 3, 4, 6, 7, 8, 9}


@given(st.lists(st.booleans(), max_size=8))
def test_triggers_that_are_noticed_late_cost_their_own_parts_and_not_the_step(late: list[bool]) -> None:
    told, _ = played([*[STEADY] * 3, *(Step(gap_s=1.0, noticed_late=found) for found in late), *[STEADY] * 3])
    count = len(late) + 6
    missing = {3 + place for place, found in enumerate(late) if found}
    assert set(pictures(told)) == set(range(1, count)) - missing
    assert all("noticed too late" in str(told[part]) for part in missing)


def test_after_a_new_connection_ids_say_nothing_about_those_before() -> None:
    binding: TriggerBinding[str] = TriggerBinding(window_s=W)
    told: dict[int, str] = {}

    def part(number: int, at_s: float, frame_id: int) -> None:
        binding.trigger(number, trigger_count=number, seen_s=at_s)
        binding.frame(frame_id, f"picture {number}", exposed_s=at_s)
        for outcome in binding.outcomes(now_s=at_s + 0.5):
            told[outcome.part] = outcome.why if isinstance(outcome, Unbound) else outcome.shown

    part(1, 1.0, 1)
    part(2, 2.0, 2)
    binding.restart("the camera was connected anew")
    part(3, 3.0, 3)
    part(4, 4.0, 4)
    assert (told[2], told[4]) == ("picture 2", "picture 4")
    assert told[3].endswith("the camera was connected anew")
