"""Event time: windows, watermark, lateness, idle partitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processors.windows import Watermark, Window
from schemas.message import NS_PER_MS

MINUTE_MS = 60_000
S = 1_000_000_000


def watermark(*, grace_ms: int = 5_000, idle_timeout_ms: int = 10_000) -> Watermark:
    return Watermark(grace_ms=grace_ms, idle_timeout_ms=idle_timeout_ms)


def is_complete(window: Window, mark: Watermark, grace_ms: int = 5_000) -> bool:
    """As `statistics_panes` closes windows."""
    return window.end_at_ns + grace_ms * 1_000_000 <= mark.at_ns


def record(mark: Watermark, *, event_s: float, record_s: float) -> None:
    mark.record_at(int(record_s * S))
    mark.event_at(int(event_s * S))


@given(st.integers(0, 2**62), st.integers(1, 10**8))
def test_every_moment_lies_in_exactly_one_window_of_a_length(at_ns: int, length_ms: int) -> None:
    window = Window.containing(at_ns, length_ms)
    assert window.start_at_ns <= at_ns < window.end_at_ns
    assert window.start_at_ns % (length_ms * NS_PER_MS) == 0
    assert Window.containing(window.end_at_ns, length_ms).start_at_ns == window.end_at_ns


def test_a_window_closes_when_its_end_and_the_grace_have_passed() -> None:
    mark, window = watermark(), Window.containing(30 * S, MINUTE_MS)
    record(mark, event_s=64.9, record_s=65)
    assert not is_complete(window, mark)
    record(mark, event_s=65, record_s=65.1)
    assert is_complete(window, mark)
    assert mark.late(window)


def test_an_older_event_does_not_move_time_back() -> None:
    mark, window = watermark(), Window.containing(30 * S, MINUTE_MS)
    record(mark, event_s=70, record_s=70)
    record(mark, event_s=20, record_s=71)
    assert is_complete(window, mark)


def test_a_clock_that_runs_ahead_closes_nothing_before_its_time() -> None:
    mark, window = watermark(), Window.containing(30 * S, MINUTE_MS)
    record(mark, event_s=1e6, record_s=40)
    assert not is_complete(window, mark)


def test_an_idle_partition_closes_its_windows_by_the_clock_and_a_busy_one_does_not() -> None:
    mark, window = watermark(), Window.containing(30 * S, MINUTE_MS)
    record(mark, event_s=50, record_s=50)
    mark.clock_at(59 * S)  # 9 s without a record: not idle yet
    assert mark.at_ns == 50 * S
    mark.clock_at(74 * S)
    assert not is_complete(window, mark)
    mark.clock_at(75 * S)
    assert is_complete(window, mark)


def test_the_clock_alone_makes_no_record_late() -> None:
    """Lateness must be found again when the log is read again, where no clock ticked."""
    mark, window = watermark(), Window.containing(30 * S, MINUTE_MS)
    record(mark, event_s=50, record_s=50)
    mark.clock_at(200 * S)
    assert is_complete(window, mark)
    assert not mark.late(window)
    mark.record_at(200 * S)  # the pause stands in the log now
    assert mark.late(window)


def test_nothing_closes_before_the_first_record() -> None:
    mark = watermark()
    mark.clock_at(10**6 * S)
    assert mark.at_ns == 0
