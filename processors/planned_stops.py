"""When a line is not meant to run: its planned stops, and the time outside its shifts where the plant file has some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from processors.shift_calendar import ShiftCalendar
from schemas.message import NS_PER_S
from schemas.statistics_settings import Shift, StatisticsSettings


class Span(NamedTuple):
    """`[from_ns, to_ns)`, ns since the epoch."""

    from_ns: int
    to_ns: int


def planned_stops(settings: StatisticsSettings, *, from_ns: int, to_ns: int) -> list[Span]:
    """The planned stops within [from_ns, to_ns), in order, none touching another."""
    zone = ZoneInfo(settings.time_zone)
    stops = [*_spans(settings.planned_stops, zone, from_ns, to_ns)]
    if settings.shifts:
        stops += _gaps(_merged(_spans(settings.shifts, zone, from_ns, to_ns)), from_ns, to_ns)
    return _merged(stops)


def _spans(shifts: tuple[Shift, ...], zone: ZoneInfo, from_ns: int, to_ns: int) -> Iterator[Span]:
    calendar = ShiftCalendar(shifts, zone)
    day = datetime.fromtimestamp(from_ns // NS_PER_S, UTC).date() - timedelta(days=2)
    last = datetime.fromtimestamp(to_ns // NS_PER_S, UTC).date() + timedelta(days=1)
    while day <= last:
        for window in calendar.begun_on(day):
            span = Span(max(window.start_at_ns, from_ns), min(window.end_at_ns, to_ns))
            if span.from_ns < span.to_ns:
                yield span
        day += timedelta(days=1)


def _merged(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.from_ns <= found[-1].to_ns:
            found[-1] = Span(found[-1].from_ns, max(found[-1].to_ns, span.to_ns))
        else:
            found.append(span)
    return found


def _gaps(spans: list[Span], from_ns: int, to_ns: int) -> list[Span]:
    ends = [from_ns, *(span.to_ns for span in spans)]
    begins = [*(span.from_ns for span in spans), to_ns]
    return [Span(end, begin) for end, begin in zip(ends, begins, strict=True) if end < begin]
