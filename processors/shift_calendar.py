"""Shifts as windows: by the clock on the wall, in the plant's time zone, through the change of clocks.

A shift begins and ends when the wall clock says so, hence lasts an hour more or less in the night when clocks change. A time that the
clocks skip is taken as that of the clock before (02:30 is 03:30 then); of a time that comes twice, the first one counts (PEP 495, fold 0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from processors.windows import Window
from schemas.message import NS_PER_MS, NS_PER_S
from schemas.statistics_settings import Shift

WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class ShiftCalendar:
    """The shifts of a plant. Raises ValueError for a time that is not `HH:MM`."""

    def __init__(self, shifts: Sequence[Shift], zone: tzinfo) -> None:
        self._shifts = [(shift, time.fromisoformat(shift.begins), time.fromisoformat(shift.ends)) for shift in shifts]
        self._zone = zone

    def containing(self, at_ns: int) -> tuple[Window, ...]:
        """The shifts that hold the moment: none in a break, one in a calendar without overlaps."""
        if not self._shifts:
            return ()
        day = datetime.fromtimestamp(at_ns // NS_PER_S, UTC).astimezone(self._zone).date()
        # A shift that holds the moment began today or yesterday, by the wall clock.
        return tuple(
            window
            for begun_on in (day - timedelta(days=1), day)
            for window in self.begun_on(begun_on)
            if window.start_at_ns <= at_ns < window.end_at_ns
        )

    def begun_on(self, day: date) -> Iterator[Window]:
        """The shifts that begin on a day."""
        for shift, begins, ends in self._shifts:
            if shift.days and WEEK[day.weekday()] not in shift.days:
                continue
            last_day = day if ends > begins else day + timedelta(days=1)
            start_ns, end_ns = self._at_ns(day, begins), self._at_ns(last_day, ends)
            yield Window(start_ns, (end_ns - start_ns) // NS_PER_MS, "shift", shift.name)

    def _at_ns(self, day: date, at: time) -> int:
        return int(datetime.combine(day, at, self._zone).timestamp()) * NS_PER_S
