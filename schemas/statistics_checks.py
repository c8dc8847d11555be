"""What is wrong with the `statistics` of a plant file: windows, shifts, time zone, and by what the parts are told apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from schemas.plant import Plant
from schemas.plant_shape import nearest
from schemas.plant_yaml import Finding, Place
from schemas.statistics_settings import Shift, SlidingWindow, StatisticsSettings

ALWAYS_BY = ("recipe", "camera", "batch")
"""What every part has; everything else is a label that a PLC gives it."""
MOST_STEPS = 100
"""A part is counted in so many windows of one sliding kind at most."""
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MINUTES_A_DAY = 24 * 60
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_WHERE: Place = ("statistics",)


def statistics_findings(plant: Plant) -> Iterator[Finding]:
    """Everything in the `statistics` of `plant` that cannot work."""
    statistics = plant.statistics
    yield from _windows(statistics)
    for index, window in enumerate(statistics.sliding):
        yield from _sliding(window, (*_WHERE, "sliding", index))
        if window.length_ms in [other.length_ms for other in statistics.sliding[:index]]:
            expected = f"each length once; {window.length_ms} stands twice, and its parts would count twice"
            yield (*_WHERE, "sliding", index, "length_ms"), expected, None
    yield from _shifts(statistics.shifts, "shifts")
    yield from _shifts(statistics.planned_stops, "planned_stops")
    yield from _time_zone(statistics.time_zone)
    yield from _by(plant)
    yield from _associations(statistics)
    chart = statistics.p_chart
    if chart.frozen_on and not chart.frozen_by:
        yield (*_WHERE, "p_chart"), "the key `frozen_by`: who froze the baseline", None
    if chart.frozen_by and not _DATE.fullmatch(chart.frozen_on):
        yield (*_WHERE, "p_chart", "frozen_on"), 'the day of the freezing in quotes, "YYYY-MM-DD"', None
    for key in ("baseline_ratio", "confidence"):
        if getattr(statistics.p_chart, key) in (0, 1):
            yield (*_WHERE, "p_chart", key), "a number between 0 and 1, neither of them", None


def _windows(statistics: StatisticsSettings) -> Iterator[Finding]:
    lengths, where = statistics.windows_ms, (*_WHERE, "windows_ms")
    if not lengths or min(lengths) < 1000:
        yield where, f"at least one window, each of 1000 ms or more, not {list(lengths)}", None
        return
    if len(set(lengths)) < len(lengths):
        yield where, f"each length once, not {list(lengths)}", None
    if statistics.grace_ms > max(lengths):
        yield (
            (*_WHERE, "grace_ms"),
            f"at most the longest window ({max(lengths)}), not {statistics.grace_ms}",
            None,
        )


def _sliding(window: SlidingWindow, where: Place) -> Iterator[Finding]:
    if window.every_ms < 1000:
        yield (*where, "every_ms"), f"1000 ms or more, not {window.every_ms}", None
    elif window.length_ms % window.every_ms or not 2 <= window.length_ms // window.every_ms <= MOST_STEPS:
        expected = f"2 to {MOST_STEPS} times `every_ms`, a whole number of them, not {window.length_ms}"
        yield (*where, "length_ms"), expected, None


def _shifts(shifts: tuple[Shift, ...], key: Literal["shifts", "planned_stops"]) -> Iterator[Finding]:
    where = (*_WHERE, key)
    readable = True
    names: set[str] = set()
    for index, shift in enumerate(shifts):
        if shift.name in names:
            yield (*where, index, "name"), f"a name of its own; `{shift.name}` stands twice", None
        names.add(shift.name)
        for end in ("begins", "ends"):
            if not _CLOCK.fullmatch(getattr(shift, end)):
                readable = False
                yield (*where, index, end), 'a time of day in quotes, "HH:MM" from "00:00" to "23:59"', None
    if readable:
        yield from _overlaps(shifts, where)


def _overlaps(shifts: tuple[Shift, ...], where: Place) -> Iterator[Finding]:
    noun = "shift" if where[-1] == "shifts" else "planned stop"
    taken: dict[int, str] = {}
    for index, shift in enumerate(shifts):
        minutes = _minutes_of_week(shift)
        other = next((taken[minute] for minute in minutes if minute in taken), None)
        if other is not None:
            yield (*where, index), f"a {noun} that does not overlap with `{other}`", None
        taken.update(dict.fromkeys(minutes, shift.name))


def _minutes_of_week(shift: Shift) -> list[int]:
    begins, ends = _minute(shift.begins), _minute(shift.ends)
    length = (ends - begins) % MINUTES_A_DAY or MINUTES_A_DAY
    first_minutes = [DAYS.index(day) * MINUTES_A_DAY + begins for day in shift.days or DAYS]
    return [(first + minute) % (7 * MINUTES_A_DAY) for first in first_minutes for minute in range(length)]


def _minute(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


def _time_zone(name: str) -> Iterator[Finding]:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        guess = nearest(name, available_timezones())
        yield (
            (*_WHERE, "time_zone"),
            f"a time zone of the IANA database, such as Europe/Berlin; `{name}` is none",
            guess,
        )


def _by(plant: Plant) -> Iterator[Finding]:
    labels = sorted({label.name for plc in plant.plcs for label in plc.labels})
    known = [*ALWAYS_BY, *(["shift"] if plant.statistics.shifts else []), *labels]
    for index, name in enumerate(plant.statistics.by):
        if name not in known:
            expected = f"one of {', '.join(f'`{each}`' for each in known)} (labels come from `plcs`, `labels`); `{name}` is none"
            yield (*_WHERE, "by", index), expected, nearest(name, known)
        elif name in plant.statistics.by[:index]:
            yield (*_WHERE, "by", index), f"each once; `{name}` stands twice", None


def _associations(statistics: StatisticsSettings) -> Iterator[Finding]:
    known = ", ".join(str(length) for length in statistics.windows_ms)
    for index, window in enumerate(statistics.associations):
        where: Place = (*_WHERE, "associations", index)
        if not statistics.by:
            yield where, "`by` under `statistics`: what the parts are told apart by, and compared", None
        if window in statistics.associations[:index]:
            yield where, "each window once", None
        if window.over == "shift":
            if not statistics.shifts:
                yield (*where, "over"), "`shifts` under `statistics`, for a comparison at the end of each", None
            if window.window_ms is not None:
                yield (*where, "window_ms"), "no `window_ms`: a shift is as long as it is", None
        elif window.window_ms is None:
            yield where, f"the key `window_ms`: one of `windows_ms` ({known}); or `over: shift`", None
        elif window.window_ms not in statistics.windows_ms:
            yield (*where, "window_ms"), f"one of `windows_ms` ({known}), not {window.window_ms}", None
