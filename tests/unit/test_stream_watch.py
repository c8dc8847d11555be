"""A stream that does not come any more is told from a line that stands still."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateways.stream_watch import SILENT_TRIGGERS, StreamWatch

W = 0.1


def test_triggers_in_a_row_without_any_frame_are_a_dead_stream() -> None:
    watch = StreamWatch(answers_within_s=W)
    watch.frame(received_s=0.0)
    for number in range(1, SILENT_TRIGGERS + 1):
        assert not watch.is_dead(now_s=number + 0.5)
        watch.triggered(seen_s=number)
    assert not watch.is_dead(now_s=SILENT_TRIGGERS + W / 2), "its frame may still come"
    assert watch.is_dead(now_s=SILENT_TRIGGERS + 0.5)
    watch.begun()
    assert not watch.is_dead(now_s=SILENT_TRIGGERS + 0.5)


@given(st.lists(st.floats(1, 100), max_size=20), st.floats(0, 1000))
def test_a_line_that_stands_still_is_no_dead_stream(gaps_s: list[float], still_s: float) -> None:
    watch, now_s = StreamWatch(answers_within_s=W), 100.0
    for gap_s in gaps_s:
        now_s += gap_s
        watch.frame(received_s=now_s)
        watch.triggered(seen_s=now_s + W / 2)
        assert not watch.is_dead(now_s=now_s + W)
    assert not watch.is_dead(now_s=now_s + still_s)


def test_one_frame_among_lost_ones_shows_that_the_stream_comes() -> None:
    watch = StreamWatch(answers_within_s=W)
    for number in range(1, 10):
        watch.triggered(seen_s=number)
        if number % SILENT_TRIGGERS == 0:
            watch.frame(received_s=number)
        assert not watch.is_dead(now_s=number + 0.5)
