"""When frames of an overloaded line are left to the backfill: none of a line that keeps up, and in runs, oldest first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processors.deferral import CAUGHT_UP_RATIO, LATEST_START_RATIO, Deferral

DEADLINE_MS = 1_000


def decisions(ages_ms: list[int]) -> list[bool]:
    """Whether each of these frames, one after the other, is deferred; `ages_ms` are their ages when their work would begin."""
    rule = Deferral()
    return [rule.defers(age_ms=age_ms, deadline_ms=DEADLINE_MS) for age_ms in ages_ms]


ages = st.lists(st.integers(-2 * DEADLINE_MS, 5 * DEADLINE_MS))


@given(ages)
def test_what_is_inspected_has_half_of_its_deadline_left_and_what_has_expired_is_deferred(ages_ms: list[int]) -> None:
    for age_ms, deferred in zip(ages_ms, decisions(ages_ms), strict=True):
        assert deferred or age_ms < DEADLINE_MS * LATEST_START_RATIO
        assert not deferred or age_ms >= DEADLINE_MS * CAUGHT_UP_RATIO


@given(st.lists(st.integers(-DEADLINE_MS, int(DEADLINE_MS * LATEST_START_RATIO) - 1)))
def test_a_line_that_keeps_up_defers_nothing(ages_ms: list[int]) -> None:
    assert not any(decisions(ages_ms))


def test_once_behind_frames_are_left_out_until_the_present_is_reached() -> None:
    assert decisions([100, 499, 500, 400, 251, 250, 249, 400, 499]) == [
        False, False, True, True, True, True, False, False, False
    ]  # fmt: skip


@given(st.integers(0, 400), st.integers(401, 2_000), st.integers(1, 30))
def test_in_a_steady_overload_the_parts_that_are_inspected_are_in_time(
    first_ms: int, work_ms_per_100_frames: int, count: int
) -> None:
    """One worker, a frame every 4 ms, each taking longer than that: what is begun is done before its deadline."""
    rule, now_ms = Deferral(), float(first_ms)
    for number in range(count * 100):
        received_ms = number * 4.0
        now_ms = max(now_ms, received_ms)
        if not rule.defers(age_ms=now_ms - received_ms, deadline_ms=DEADLINE_MS):
            now_ms += work_ms_per_100_frames / 100
            assert now_ms - received_ms < DEADLINE_MS
