"""A free-running camera: windows never overlap, a frame belongs to one part at most, and a late frame is not a new one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.part_windows import PartWindows
from gateways.stream_clock import PERIOD_S, StreamClock

times = st.lists(st.floats(0, 10, allow_nan=False), max_size=40).map(lambda found: sorted(set(found)))


@given(times, times, st.floats(0.01, 2), st.sets(st.integers(0, 39)))
def test_each_part_that_is_wanted_gets_the_first_frame_of_its_own_window_or_a_reason(
    triggers: list[float], frames: list[float], window_s: float, unwanted: set[int]
) -> None:
    windows = PartWindows(window_s=window_s)
    shown: dict[int, float] = {}
    failed: dict[int, str] = {}
    for at_s, part in sorted([(at_s, part) for part, at_s in enumerate(triggers)] + [(at_s, -1) for at_s in frames]):
        if part >= 0:
            windows.trigger(at_s=at_s)
            if part not in unwanted:
                windows.want(part, at_s=at_s)
        elif (found := windows.frame(exposed_s=at_s)) is not None:
            assert found not in shown
            shown[found] = at_s
        failed |= dict(windows.closed(now_s=at_s))
    failed |= dict(windows.closed(now_s=1e9))
    assert set(shown) | set(failed) == set(range(len(triggers))) - unwanted
    assert not set(shown) & set(failed)
    for part, seen_s in enumerate(triggers):
        if part in unwanted:
            continue
        ends_s = min([seen_s + window_s, *triggers[part + 1 : part + 2]])
        inside = [frame for frame in frames if seen_s < frame <= ends_s]
        assert shown.get(part) == (inside[0] if inside else None)
    assert len(set(shown.values())) == len(shown)


def test_it_says_why_a_part_has_no_frame() -> None:
    windows = PartWindows(window_s=0.2)
    for part, at_s in ((1, 1.0), (2, 1.05)):
        windows.trigger(at_s=at_s)
        windows.want(part, at_s=at_s)
    assert windows.closed(now_s=1.1) == []
    assert windows.frame(exposed_s=1.06) == 2
    assert windows.closed(now_s=1.1) == [(1, "no frame before the next trigger, 50 ms later")]
    windows.trigger(at_s=2.0)
    windows.want(3, at_s=2.0)
    assert windows.closed(now_s=2.3) == [], "a frame may still be on its way"
    assert windows.closed(now_s=2.5) == [(3, "no frame within 200 ms of the trigger")]


def test_a_part_that_is_asked_for_after_the_next_trigger_gets_no_frame_of_that_one() -> None:
    windows = PartWindows(window_s=0.2)
    windows.trigger(at_s=1.0)
    windows.trigger(at_s=1.05)
    windows.want(1, at_s=1.0)
    assert windows.frame(exposed_s=1.06) is None
    assert windows.closed(now_s=1.1) == [(1, "no frame before the next trigger, 50 ms later")]


def test_a_frame_that_waited_on_the_network_counts_as_exposed_when_it_was() -> None:
    clock = StreamClock()
    assert clock.exposed_s(stamp_s=0.0, received_s=50.1) == pytest.approx(50.1)
    assert clock.exposed_s(stamp_s=1.0, received_s=51.0) == pytest.approx(51.0)
    assert clock.exposed_s(stamp_s=2.0, received_s=52.8) == pytest.approx(52.0)


@given(st.lists(st.tuples(st.floats(0.01, 2), st.floats(0, 1)), min_size=1, max_size=60), st.floats(-1e6, 1e6))
def test_an_exposure_is_never_after_its_arrival_and_errs_by_the_least_wait_at_most(
    frames: list[tuple[float, float]], offset_s: float
) -> None:
    clock, exposed_s, least_s = StreamClock(), 0.0, float("inf")
    for gap_s, wait_s in frames:
        exposed_s += gap_s
        least_s = min(least_s, wait_s)
        found_s = clock.exposed_s(stamp_s=exposed_s + offset_s, received_s=exposed_s + wait_s)
        assert found_s <= exposed_s + wait_s + 1e-6
        if exposed_s < PERIOD_S:
            assert found_s == pytest.approx(exposed_s + least_s, abs=1e-6)


def test_stamps_that_stand_still_or_begin_again_are_not_believed() -> None:
    clock = StreamClock()
    clock.exposed_s(stamp_s=100.0, received_s=1.0)
    assert clock.exposed_s(stamp_s=100.0, received_s=2.0) == 2.0
    assert clock.exposed_s(stamp_s=0.0, received_s=3.0) == 3.0
    assert clock.exposed_s(stamp_s=1.0, received_s=4.5) == pytest.approx(4.5)
    assert clock.exposed_s(stamp_s=500.0, received_s=5.0) == pytest.approx(5.0)


def test_clocks_that_drift_apart_are_followed() -> None:
    clock = StreamClock()
    error_s = [
        clock.exposed_s(stamp_s=tick * 0.04 * (1 - 1e-3), received_s=tick * 0.04) - tick * 0.04
        for tick in range(10_000)
    ]
    assert max(map(abs, error_s)) < 2.5 * PERIOD_S * 1e-3
