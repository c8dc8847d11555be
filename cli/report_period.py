"""Which period a report is about: a shift of the plant's calendar, or from one moment to another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from processors.period_report import Period
from processors.shift_calendar import ShiftCalendar
from schemas.errors import ConfigurationError
from schemas.message import NS_PER_S
from schemas.plant import Plant

DAYS_BACK = 31
"""A shift that did not run for a month is none that `last` could mean."""


def period_of_shift(plant: Plant, shift: str, *, now_ns: int) -> Period:
    """The last complete shift before `now_ns`: of any name for `last`, else of that name. Raises ConfigurationError for none."""
    statistics = plant.statistics
    names = [each.name for each in statistics.shifts]
    if not names:
        raise ConfigurationError("the plant file has no `statistics.shifts`: name the period with --from and --to")
    if shift != "last" and shift not in names:
        raise ConfigurationError(f"--shift: expected `last` or one of {', '.join(names)}, not `{shift}`")
    zone = ZoneInfo(statistics.time_zone)
    calendar = ShiftCalendar([each for each in statistics.shifts if shift in ("last", each.name)], zone)
    today = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).astimezone(zone).date()
    for back in range(DAYS_BACK):
        ended = [each for each in calendar.begun_on(today - timedelta(days=back)) if each.end_at_ns <= now_ns]
        if ended:
            newest = max(ended)
            return Period(newest.start_at_ns, newest.end_at_ns)
    raise ConfigurationError(f"no shift has ended in the last {DAYS_BACK} days: see `days` under `statistics.shifts`")


def moment_ns(text: str, plant: Plant, *, option: str) -> int:
    """A moment in ISO 8601, in the plant's time zone where it names none. Raises ConfigurationError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{option}: expected a moment such as 2026-11-24T06:00, not `{text}`") from error
    if at.tzinfo is None:
        at = at.replace(tzinfo=ZoneInfo(plant.statistics.time_zone))
    return int(at.timestamp() * NS_PER_S)
