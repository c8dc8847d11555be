"""Shifts by the clock on the wall: through both changes of clocks, in breaks, over midnight; a plan equals its parts."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from processors.shift_calendar import ShiftCalendar
from processors.window_plan import WindowPlan, longest_window_ms
from schemas.message import NS_PER_S
from schemas.statistics_settings import Shift, SlidingWindow, StatisticsSettings

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_MS = 3_600_000
EARLY = Shift(name="early", begins="06:00", ends="14:00")
LATE = Shift(name="late", begins="14:00", ends="22:00")
NIGHT = Shift(name="night", begins="22:00", ends="06:00")
ALL = ShiftCalendar((EARLY, LATE, NIGHT), BERLIN)


def berlin(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()) * NS_PER_S


def test_a_shift_begins_by_the_wall_clock_in_winter_and_in_summer() -> None:
    (winter,) = ALL.containing(berlin("2026-01-15T07:30"))
    (summer,) = ALL.containing(berlin("2026-07-15T07:30"))
    assert (winter.shift, winter.length_ms) == ("early", 8 * HOUR_MS)
    assert datetime.fromtimestamp(winter.start_at_ns // NS_PER_S, UTC).hour == 5
    assert datetime.fromtimestamp(summer.start_at_ns // NS_PER_S, UTC).hour == 4


def test_the_night_when_clocks_change_is_an_hour_shorter_or_longer() -> None:
    spring = list(ALL.begun_on(date(2026, 3, 28)))
    assert [w.length_ms // HOUR_MS for w in spring] == [8, 8, 7]
    autumn = list(ALL.begun_on(date(2026, 10, 24)))
    assert [w.length_ms // HOUR_MS for w in autumn] == [8, 8, 9]


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1), timezones=st.just(UTC)))
def test_shifts_without_gaps_hold_every_moment_once(at: datetime) -> None:
    at_ns = int(at.timestamp()) * NS_PER_S
    (window,) = ALL.containing(at_ns)
    assert window.start_at_ns <= at_ns < window.end_at_ns
    (following,) = ALL.containing(window.end_at_ns)
    assert following.start_at_ns == window.end_at_ns


def test_there_is_no_shift_in_a_break_nor_on_a_free_day() -> None:
    calendar = ShiftCalendar((Shift(name="day", begins="08:00", ends="16:00", days=("monday",)),), BERLIN)
    assert calendar.containing(berlin("2026-11-23T12:00"))  # a Monday
    assert not calendar.containing(berlin("2026-11-23T16:00"))
    assert not calendar.containing(berlin("2026-11-24T12:00"))


def test_a_night_shift_belongs_to_the_day_on_which_it_begins() -> None:
    calendar = ShiftCalendar((Shift(name="night", begins="22:00", ends="06:00", days=("friday",)),), BERLIN)
    assert calendar.containing(berlin("2026-11-28T05:59"))  # Saturday morning
    assert not calendar.containing(berlin("2026-11-27T05:59"))


SETTINGS = StatisticsSettings(
    windows_ms=(10_000, 45_000),
    sliding=(SlidingWindow(length_ms=35_000, every_ms=7_000),),
    shifts=(EARLY, LATE, NIGHT),
    time_zone="Europe/Berlin",
)


@given(st.integers(1_790_000_000, 1_800_000_000), st.lists(st.integers(-20_000, 20_000), min_size=1, max_size=20))
def test_a_plan_that_remembers_equals_one_that_does_not(from_s: int, steps_ms: list[int]) -> None:
    plan, at_ns = WindowPlan(SETTINGS), from_s * NS_PER_S
    for step_ms in steps_ms:
        at_ns += step_ms * 1_000_000
        windows = plan.containing(at_ns)
        assert windows == WindowPlan(SETTINGS).containing(at_ns)
        assert all(window.start_at_ns <= at_ns < window.end_at_ns for window in windows)
        assert [w.kind for w in windows] == ["tumbling"] * 2 + ["sliding"] * 5 + ["shift"]
        assert len(set(windows)) == len(windows)


def test_another_time_zone_makes_other_windows_and_leaves_those_before() -> None:
    at_ns = berlin("2026-11-23T12:00")
    (here,) = ALL.containing(at_ns)
    (there,) = ShiftCalendar((EARLY, LATE, NIGHT), ZoneInfo("Asia/Tokyo")).containing(at_ns)
    assert here.told("a", by="", level="") != there.told("a", by="", level="")


def test_memory_reaches_over_the_longest_night() -> None:
    assert longest_window_ms(SETTINGS) == 9 * HOUR_MS
    assert longest_window_ms(StatisticsSettings(windows_ms=(60_000,))) == 60_000
    whole_day = StatisticsSettings(shifts=(Shift(name="day", begins="06:00", ends="06:00"),))
    assert longest_window_ms(whole_day) == 25 * HOUR_MS
    (day,) = ShiftCalendar(whole_day.shifts, BERLIN).begun_on(date(2026, 10, 24))
    assert day.length_ms == 25 * HOUR_MS
