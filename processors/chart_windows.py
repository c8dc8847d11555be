"""Which windows a chart of the plant file has its points from, and how far apart those begin."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from processors.shift_calendar import WEEK, ShiftCalendar
from processors.window_plan import DAY_MS
from schemas.chart_settings import Chart
from schemas.charts import ChartPoint
from schemas.message import NS_PER_MS
from schemas.statistics_settings import Shift, StatisticsSettings

WEEK_MS = 7 * DAY_MS


def length_ms(chart: Chart, settings: StatisticsSettings) -> int:
    """How long a window of the chart is, and how far the next one lies from it that shares no part with it, in ms.

    Of shifts that is how far they begin apart on average: a hundred of them are a month of three-shift days, five months of single ones.
    """
    if chart.over == "shift":
        return WEEK_MS // max(1, sum(_begins_a_week(shift) for shift in settings.shifts))
    return chart.window_ms or 0


def step_ns(chart: Chart) -> int:
    """How far windows lie apart that a point follows from (`chart_series`): their length. Shifts never overlap: 0, all of them."""
    return 0 if chart.over == "shift" else (chart.window_ms or 0) * NS_PER_MS


def overlapping_windows(chart: Chart, settings: StatisticsSettings) -> int:
    """Into how many windows of the chart a part falls: 1 where they do not overlap."""
    every_ms = {window.length_ms: window.every_ms for window in settings.sliding}
    if chart.over != "sliding" or chart.window_ms not in every_ms:
        return 1
    return chart.window_ms // every_ms[chart.window_ms]


class ChartWindows:
    """The windows of the charts as the plant file has them now: points of another length, or of other shifts, are not of them."""

    def __init__(self, settings: StatisticsSettings) -> None:
        self._settings = settings
        self._calendar = ShiftCalendar(settings.shifts, ZoneInfo(settings.time_zone))
        self._every_ms = {window.length_ms: window.every_ms for window in settings.sliding}

    def has(self, chart: Chart, point: ChartPoint) -> bool:
        """Whether the point is that of a window of the chart."""
        start_ns, end_ns = point.start_at_ns, point.end_at_ns
        if chart.over == "shift":
            return any(
                (window.start_at_ns, window.end_at_ns) == (start_ns, end_ns)
                for window in self._calendar.containing(start_ns)
            )
        window_ms = chart.window_ms or 0
        every_ms = window_ms if chart.over == "tumbling" else self._every_ms.get(window_ms, window_ms)
        return end_ns - start_ns == window_ms * NS_PER_MS and start_ns % (every_ms * NS_PER_MS) == 0


def _begins_a_week(shift: Shift) -> int:
    return len(set(shift.days)) if shift.days else len(WEEK)
