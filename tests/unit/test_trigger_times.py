"""How late a trigger is read is known, whatever time the PLC's clock shows."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.arrivals import Arrival, RingNews
from gateways.picture_source import Trigger
from gateways.trigger_times import Moment, TriggerTimes, prompt_within_s
from schemas.plant import Camera, FolderSource, GenicamSource, HttpSource, RtspSource

S = 1_000_000_000
UTC_NS = 1_700_000_000 * S
"""When the monotonic clock of these tests began."""


def at(seconds: float) -> Moment:
    return Moment(seconds, UTC_NS + int(seconds * S))


def arrival(count: int, at_s: float, *, clock_off_s: float = 0.0) -> Arrival:
    stamp_ns = UTC_NS + int((at_s + clock_off_s) * S)
    return Arrival(count=count, part_id="p", visit=1, recipe="r@1", batch="b", occurred_at_ns=stamp_ns)


class Reader:
    """Reads a ring: `read(12.0, ...)` asks at 12.0 and has the answer 10 ms later."""

    def __init__(self, *, prompt_within_s: float = math.inf) -> None:
        self.times = TriggerTimes(taken_for_ms=2000, prompt_within_s=prompt_within_s)
        self.first = True

    def read(
        self, now_s: float, *arrivals: Arrival, session: str = "s1", went_back: bool = False, reconnected: bool = False
    ) -> list[Trigger]:
        news = RingNews(session, arrivals, 0, self.first, went_back)
        self.first = False
        return self.times.of(news, asked=at(now_s), answered=at(now_s + 0.01), reconnected=reconnected)


def late_s(trigger: Trigger) -> float:
    return trigger.seen_s - trigger.at_s


@pytest.mark.parametrize("clock_off_s", [0.0, -86_400.0, 3.5])
def test_an_arrival_that_was_read_late_over_a_standing_connection_is_known_to_be_old(clock_off_s: float) -> None:
    reader = Reader()
    for second in range(10, 15):
        (prompt,) = reader.read(second + 0.02, arrival(second, second, clock_off_s=clock_off_s))
        assert late_s(prompt) == pytest.approx(0, abs=1e-3)
        assert prompt.fresh
    (late,) = reader.read(15.62, arrival(15, 15, clock_off_s=clock_off_s))
    assert late.fresh, "nothing newer has come"
    assert late_s(late) == pytest.approx(0.6, abs=1e-3)


def test_of_several_read_at_once_the_newest_alone_is_fresh_and_each_has_its_time() -> None:
    reader = Reader()
    reader.read(1.02, arrival(1, 1.0))
    first, second = reader.read(4.02, arrival(2, 3.0), arrival(3, 4.0))
    assert (first.fresh, second.fresh) == (False, True)
    assert first.at_s == pytest.approx(3.03, abs=1e-3)
    assert first.seen_s == pytest.approx(second.seen_s - 1)
    assert (first.count, second.count) == (2, 3)


def test_after_a_reconnection_nothing_is_fresh() -> None:
    reader = Reader()
    reader.read(1.02, arrival(1, 1.0))
    (found,) = reader.read(9.0, arrival(2, 8.9), reconnected=True)
    assert not found.fresh


def test_a_plc_that_counts_anew_has_a_clock_of_its_own() -> None:
    reader = Reader()
    reader.read(1.02, arrival(1, 1.0))
    reader.read(2.0)
    reader.read(3.0)
    (found,) = reader.read(4.02, arrival(1, 4.0, clock_off_s=-1.5), session="s2")
    assert late_s(found) == pytest.approx(0, abs=1e-3)
    (found,) = reader.read(8.02, arrival(1, 8.0, clock_off_s=-4.0), session="s2", went_back=True)
    assert late_s(found) == pytest.approx(0, abs=1e-3)


def test_a_clock_that_was_set_back_makes_an_arrival_no_older_than_the_reading_without_it() -> None:
    reader = Reader()
    reader.read(1.02, arrival(1, 1.0))
    reader.read(20.0)
    (found,) = reader.read(20.52, arrival(2, 20.5, clock_off_s=-10))
    assert found.at_s == 20.0


def test_a_trigger_lies_after_the_reading_that_did_not_have_it() -> None:
    reader = Reader()
    (first,) = reader.read(1.0, arrival(1, 0.9))
    assert first.not_before_ns == at(-1.0).utc_ns, "older ones are not taken"
    reader.read(2.0)
    (found,) = reader.read(3.0, arrival(2, 2.5), session="s2", reconnected=True)
    assert found.not_before_ns == at(2.0).utc_ns
    (found,) = reader.read(4.0, arrival(3, 3.5), session="s2")
    assert found.not_before_ns == at(3.0).utc_ns


@given(
    st.lists(st.tuples(st.floats(0.05, 2), st.floats(0, 3), st.floats(-3, 3) | st.floats(-1e6, 1e6)), max_size=30),
)
def test_whatever_the_plcs_clock_does_a_trigger_lies_between_two_readings_and_after_the_one_before(
    steps: list[tuple[float, float, float]],
) -> None:
    reader, now_s = Reader(), 10.0
    reader.read(now_s)
    before_s, last_at_s = now_s, float("-inf")
    for count, (gap_s, wait_s, clock_off_s) in enumerate(steps, 1):
        happened_s = now_s + gap_s
        now_s = happened_s + wait_s
        (found,) = reader.read(now_s, arrival(count, happened_s, clock_off_s=clock_off_s))
        assert before_s <= found.at_s <= found.seen_s
        assert found.at_s > last_at_s
        before_s, last_at_s = now_s, found.at_s


# --- the first arrival has no other to be measured by -----------------------------------------------------------------


def test_the_first_arrival_is_taken_for_prompt_where_the_reading_before_shows_it() -> None:
    reader = Reader(prompt_within_s=0.25)
    reader.read(1.0)
    (first,) = reader.read(1.2, arrival(1, 1.1))
    assert first.fresh
    assert late_s(first) == 0


def test_a_first_arrival_that_may_have_waited_long_is_not_and_neither_is_the_next_until_one_was_shown() -> None:
    reader = Reader(prompt_within_s=0.25)
    reader.read(1.0)
    (late,) = reader.read(1.9, arrival(1, 1.1))
    assert not late.fresh
    (later,) = reader.read(2.9, arrival(2, 2.1))
    assert not later.fresh, "it is as late as the one before: measured by that it would be prompt"
    reader.read(3.0)
    (shown,) = reader.read(3.1, arrival(3, 3.05))
    assert shown.fresh
    (known,) = reader.read(4.9, arrival(4, 4.1))
    assert known.fresh
    assert late_s(known) == pytest.approx(0.75, abs=1e-3)


def test_the_ring_is_looked_at_often_until_an_arrival_was_shown_to_be_prompt_and_again_for_another_plc_session() -> (
    None
):
    reader = Reader(prompt_within_s=0.5)
    assert reader.times.look_within_s(1.0) == pytest.approx(0.1)
    reader.read(1.0)
    reader.read(1.1, arrival(1, 1.05))
    assert reader.times.look_within_s(1.0) == 1.0
    reader.read(2.1, session="s2")
    assert reader.times.look_within_s(1.0) == pytest.approx(0.1)
    assert Reader().times.look_within_s(1.0) == 1.0, "nothing depends on it"
    assert Reader(prompt_within_s=0.001).times.look_within_s(1.0) == 0.02


@pytest.mark.parametrize(
    ("source", "within_s"),
    [
        (HttpSource(url="http://camera/now", expose_within_ms=300), 0.3),
        (HttpSource(url="http://camera/{trigger}", expose_within_ms=300), math.inf),
        (GenicamSource(device="d", trigger="software", expose_within_ms=200, window_ms=60), 0.2),
        (GenicamSource(device="d", trigger="hardware", window_ms=60), 0.06),
        (RtspSource(url="rtsp://camera/main", window_ms=200), 0.2),
        (FolderSource(path="pictures"), math.inf),
    ],
)
def test_how_soon_depends_on_the_camera_that_asks_for_most(
    source: HttpSource | GenicamSource | RtspSource | FolderSource, within_s: float
) -> None:
    camera = Camera(name="c", views=("c",), source=source)
    keeps = Camera(name="k", views=("k",), source=FolderSource(path="pictures"))
    assert prompt_within_s([keeps, camera]) == pytest.approx(within_s)


@given(st.lists(st.tuples(st.floats(0.01, 0.5), st.floats(0, 0.5), st.booleans()), max_size=25), st.floats(-1e6, 1e6))
def test_law_what_is_taken_for_fresh_happened_at_most_so_long_before_the_moment_it_is_given(
    steps: list[tuple[float, float, bool]], clock_off_s: float
) -> None:
    within_s = 0.1
    reader, now_s, count = Reader(prompt_within_s=within_s), 10.0, 0
    reader.read(now_s)
    for gap_s, wait_s, looked_between in steps:
        happened_s, count = now_s + gap_s, count + 1
        if looked_between:
            reader.read(happened_s - 0.01)
        now_s = happened_s + wait_s
        (found,) = reader.read(now_s, arrival(count, happened_s, clock_off_s=clock_off_s))
        if found.fresh:
            assert found.at_s - happened_s <= within_s + 1e-3
