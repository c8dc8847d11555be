"""Breaks and the time between shifts make no line less available."""

from __future__ import annotations

from datetime import UTC, datetime

from processors.planned_stops import planned_stops
from processors.quality.oee import StateChange, effectiveness, state_times
from schemas.plc_events import LineMode
from schemas.statistics_settings import PlannedStop, Shift, StatisticsSettings

HOUR_NS = 3_600_000_000_000
LUNCH = PlannedStop(name="lunch", begins="12:00", ends="12:30")
EARLY = Shift(name="early", begins="06:00", ends="14:00", days=("monday",))


def at(day: int, hour: float) -> int:
    """A moment of November 2026; the 30th is a Monday."""
    return int(datetime(2026, 11, day, tzinfo=UTC).timestamp()) * 1_000_000_000 + int(hour * HOUR_NS)


def hours(settings: StatisticsSettings, from_ns: int, to_ns: int) -> list[tuple[float, float]]:
    return [
        ((begin - from_ns) / HOUR_NS, (end - from_ns) / HOUR_NS)
        for begin, end in planned_stops(settings, from_ns=from_ns, to_ns=to_ns)
    ]


def test_breaks_and_what_lies_outside_shifts_are_planned_stops_each_moment_once() -> None:
    breaks = StatisticsSettings(planned_stops=(LUNCH,))
    assert hours(breaks, at(29, 0), at(30, 24)) == [(12, 12.5), (36, 36.5)]
    assert hours(breaks, at(29, 12.25), at(29, 18)) == [(0, 0.25)]
    both = StatisticsSettings(planned_stops=(LUNCH,), shifts=(EARLY,))
    assert hours(both, at(29, 0), at(30, 24)) == [(0, 30), (36, 36.5), (38, 48)]
    night = PlannedStop(name="cleaning", begins="23:00", ends="01:00")
    assert hours(StatisticsSettings(planned_stops=(night,)), at(29, 0), at(30, 0)) == [(0, 1), (23, 24)]
    assert hours(StatisticsSettings(), at(29, 0), at(30, 0)) == []


def test_planned_stops_are_those_of_the_plants_clock() -> None:
    berlin = StatisticsSettings(planned_stops=(LUNCH,), time_zone="Europe/Berlin")
    assert hours(berlin, at(30, 0), at(30, 24)) == [(11, 11.5)]


def test_a_line_that_stands_in_a_break_is_as_available_as_without_and_one_that_runs_through_it_has_run() -> None:
    lunch = [(4 * HOUR_NS, 5 * HOUR_NS)]
    standing = [
        StateChange(0, LineMode.RUNNING),
        StateChange(4 * HOUR_NS, LineMode.STOPPED),
        StateChange(6 * HOUR_NS, LineMode.RUNNING),
    ]
    times = state_times(standing, from_ns=0, to_ns=8 * HOUR_NS, planned_stops=lunch)
    assert (times.running_ns, times.stopped_ns, times.planned_stop_ns) == (6 * HOUR_NS, HOUR_NS, HOUR_NS)
    found = effectiveness(times, ideal_cycle_ns=HOUR_NS, parts=6, good_parts=6)
    assert found.availability_ratio == 6 / 7
    through = state_times(standing[:1], from_ns=0, to_ns=8 * HOUR_NS, planned_stops=lunch)
    assert (through.running_ns, through.planned_stop_ns) == (8 * HOUR_NS, 0)
