"""Which windows of a plant's plan hold a moment: tumbling and sliding ones, and the shifts."""

from __future__ import annotations

from datetime import time
from zoneinfo import ZoneInfo

from processors.shift_calendar import ShiftCalendar
from processors.windows import Window
from schemas.message import NS_PER_MS
from schemas.statistics_settings import Shift, StatisticsSettings

MINUTE_MS = 60_000
"""Shifts begin and end on whole minutes."""

HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def longest_window_ms(settings: StatisticsSettings) -> int:
    """The length of the longest window that the settings ask for."""
    sliding = (window.length_ms for window in settings.sliding)
    return max((*settings.windows_ms, *sliding, *map(_longest_ms, settings.shifts)))


def _longest_ms(shift: Shift) -> int:
    """With the hour that the night in autumn has more."""
    begins, ends = (time.fromisoformat(at) for at in (shift.begins, shift.ends))
    minutes = (ends.hour - begins.hour) * 60 + ends.minute - begins.minute
    return (minutes * MINUTE_MS) % DAY_MS + HOUR_MS if minutes else DAY_MS + HOUR_MS


class WindowPlan:
    """The windows of a plant. Remembers those of the last moment (`known`), which are those of every moment within
    `[known_from_ns, known_until_ns)`: the next one mostly lies in it."""

    def __init__(self, settings: StatisticsSettings) -> None:
        self._settings = settings
        self._calendar = ShiftCalendar(settings.shifts, ZoneInfo(settings.time_zone))
        # windows begin and end at multiples of these only
        self._steps_ms = [*settings.windows_ms, *(window.every_ms for window in settings.sliding)]
        self._steps_ms += [MINUTE_MS] if settings.shifts else []
        self.known: tuple[Window, ...] = ()
        self.known_from_ns = 0
        self.known_until_ns = 0

    def containing(self, at_ns: int) -> tuple[Window, ...]:
        """All windows that hold the moment."""
        if not self.known_from_ns <= at_ns < self.known_until_ns:
            self._remember(at_ns)
        return self.known

    def _remember(self, at_ns: int) -> None:
        tumbling = [Window.containing(at_ns, length_ms) for length_ms in self._settings.windows_ms]
        self.known = (*tumbling, *self._sliding(at_ns), *self._calendar.containing(at_ns))
        spans = [Window.containing(at_ns, step_ms) for step_ms in self._steps_ms]
        self.known_from_ns = max(span.start_at_ns for span in spans)
        self.known_until_ns = min(span.end_at_ns for span in spans)

    def _sliding(self, at_ns: int) -> list[Window]:
        return [
            Window(newest_ns - step * every_ns, window.length_ms, "sliding")
            for window in self._settings.sliding
            for every_ns in (window.every_ms * NS_PER_MS,)
            for newest_ns in (at_ns - at_ns % every_ns,)
            for step in range(window.length_ms // window.every_ms)
        ]
