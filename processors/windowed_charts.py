"""Charts over the figures of windows: a point for each closed window, revised when a late verdict or a review corrects it.

Fed with the figures that the statistics stage tells, of one partition. After a restart the points on the topic are read back. A
correction of a window that is not held any more is named by `take_missing`, and worked out from the log by the caller.
"""

from __future__ import annotations

from typing import NamedTuple

from processors.chart_points import Sample, plotted_mean, plotted_value
from processors.chart_series import Series, Subject, held_ns, memory_ns
from processors.chart_windows import ChartWindows, length_ms, step_ns
from schemas.chart_settings import Chart, Defects, is_counted, is_windowed
from schemas.charts import ChartPoint
from schemas.message import NS_PER_MS
from schemas.statistics import PaneCounts, WindowStatistics
from schemas.statistics_settings import StatisticsSettings

PLACES = ("station", "line")


class SeriesKey(NamedTuple):
    """One chart of one subject."""

    chart: str
    subject: str


class _Place(NamedTuple):
    """What figures have in common that are charted alike."""

    kind: str
    window_ms: int  # 0: of any length
    scope: str
    by: str

    @staticmethod
    def of_chart(chart: Chart) -> _Place:
        by = "" if chart.by in PLACES else chart.by
        return _Place(chart.over, chart.window_ms or 0, "line" if chart.by == "line" else "station", by)

    @staticmethod
    def of(figures: WindowStatistics) -> _Place:
        window_ms = 0 if figures.kind == "shift" else figures.window_ms
        return _Place(figures.kind, window_ms, figures.scope, figures.by)


def held_ms(settings: StatisticsSettings) -> int:
    """How far back the points of charts are held, in ms; 0 without charts over windows."""
    longest_ms = max((length_ms(chart, settings) for chart in settings.charts if is_windowed(chart)), default=0)
    return held_ns(longest_ms * NS_PER_MS) // NS_PER_MS


class WindowedCharts:
    """The charts of one partition. Feed it figures in any order; ask for what is `due`."""

    def __init__(self, *, settings: StatisticsSettings, whole_from_ns: int = 0) -> None:
        """Points from `whole_from_ns` on will be recalled without a gap."""
        self._settings = settings
        self._charts = {chart.name: chart for chart in settings.charts if is_windowed(chart)}
        self._at: dict[_Place, list[Chart]] = {}
        for chart in self._charts.values():
            self._at.setdefault(_Place.of_chart(chart), []).append(chart)
        self._windows = ChartWindows(settings)
        self._length_ns = {chart.name: length_ms(chart, settings) * NS_PER_MS for chart in self._charts.values()}
        self._whole_from_ns = dict.fromkeys(self._charts, whole_from_ns)
        self._newest_ns = dict.fromkeys(self._charts, 0)
        self._series: dict[SeriesKey, Series] = {}
        self._changed: set[SeriesKey] = set()
        self._missing: dict[SeriesKey, dict[int, WindowStatistics]] = {}

    def feed(self, figures: WindowStatistics) -> None:
        """Figures of a station or line over a window; those of an open one are passed over."""
        if figures.closed:
            for chart in self._at.get(_Place.of(figures), ()):
                self._put(chart, figures)

    def recall(self, point: ChartPoint) -> None:
        """A point that stands on the topic."""
        chart = self._charts.get(point.chart)
        if chart is not None and self._windows.has(chart, point):
            self._series_of(chart, Subject(point.subject, point.line)).recall(point)

    def due(self) -> list[ChartPoint]:
        """The points that are new, or not as they were told last."""
        due = [point for key in sorted(self._changed) for point in self._series[key].due()]
        self._changed.clear()
        self._forget()
        return due

    def take_missing(self) -> dict[SeriesKey, dict[int, WindowStatistics]]:
        """Corrections of windows that are not held, by the begin of the window: see `Reworked`."""
        missing, self._missing = self._missing, {}
        return missing

    def points(self) -> list[ChartPoint]:
        """Every point that is held."""
        return [point for key in sorted(self._series) for point in self._series[key].points()]

    def _put(self, chart: Chart, figures: WindowStatistics) -> None:
        subject = Subject(_subject(figures), figures.line)
        series = self._series_of(chart, subject)
        self._newest_ns[chart.name] = max(self._newest_ns[chart.name], figures.start_at_ns)
        sample = _sample(chart, figures)
        # most windows have no such finding: they get a point only where one was told, which a review took back
        is_news = is_counted(chart) or bool(sample.values) or series.knows(figures.start_at_ns)
        if is_news and series.holds(figures.start_at_ns):
            series.put(sample)
        if not series.reaches(figures.start_at_ns):
            self._missing.setdefault(SeriesKey(chart.name, subject.name), {})[figures.start_at_ns] = figures

    def _forget(self) -> None:
        """Lets go of subjects of which nothing came for long: batches end, and there are always new ones."""
        for chart in self._charts.values():
            kept_ns = held_ns(self._length_ns[chart.name])
            horizon_ns = self._newest_ns[chart.name] - kept_ns
            if horizon_ns - self._whole_from_ns[chart.name] < kept_ns // 4:
                continue  # forgetting scans everything held: do it now and then
            self._whole_from_ns[chart.name] = horizon_ns
            silent = [k for k, s in self._series.items() if k.chart == chart.name and s.newest_ns < horizon_ns]
            for key in silent:
                del self._series[key]

    def _series_of(self, chart: Chart, subject: Subject) -> Series:
        """The series, which is about to change."""
        key = SeriesKey(chart.name, subject.name)
        self._changed.add(key)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(
                chart=chart,
                subject=subject,
                length_ns=self._length_ns[chart.name],
                step_ns=step_ns(chart),
                baselines=self._settings.baselines,
                whole_from_ns=self._whole_from_ns[chart.name],
            )
        return series


class Reworked:
    """Points that follow from corrections of windows long gone, from the figures on the topic."""

    def __init__(self, *, settings: StatisticsSettings, missing: dict[SeriesKey, dict[int, WindowStatistics]]) -> None:
        self._missing = missing
        self._step_ns = {chart.name: step_ns(chart) for chart in settings.charts}
        self._memory_ns = {
            chart.name: memory_ns(chart, length_ms(chart, settings) * NS_PER_MS)
            for chart in settings.charts
            if is_windowed(chart)
        }
        self._charts = WindowedCharts(settings=settings)

    @property
    def from_ns(self) -> int:
        """Figures told before this moment are not needed."""
        return max(
            0,
            min(min(windows) - self._memory_ns[key.chart] for key, windows in self._missing.items()),
        )

    def feed(self, figures: WindowStatistics) -> None:
        """Figures from the topic, oldest first; those that neither lead to nor follow from a correction are passed over."""
        subject, at_ns = _subject(figures), figures.start_at_ns
        for key, windows in self._missing.items():
            reach_ns = self._memory_ns[key.chart]
            if key.subject == subject and any(abs(at_ns - start) < reach_ns for start in windows):
                self._charts.feed(figures)
                return

    def points(self) -> list[ChartPoint]:
        """What follows from the corrections: the points of their windows and of those after them, as far as they reach."""
        for windows in self._missing.values():
            for figures in windows.values():
                self._charts.feed(figures)
        return [point for point in self._charts.points() if self._follows(point)]

    def _follows(self, point: ChartPoint) -> bool:
        reach_ns, apart_ns = self._memory_ns[point.chart], self._step_ns[point.chart] or 1
        windows = self._missing.get(SeriesKey(point.chart, point.subject), {})
        return any(
            start <= point.start_at_ns < start + reach_ns and (point.start_at_ns - start) % apart_ns == 0
            for start in windows
        )


def _subject(figures: WindowStatistics) -> str:
    level = f"/{figures.by}={figures.level}" if figures.by else ""
    return f"{figures.scope}/{figures.name}{level}"


def _sample(chart: Chart, figures: WindowStatistics) -> Sample:
    start_ns, end_ns = figures.start_at_ns, figures.start_at_ns + figures.window_ms * NS_PER_MS
    if not is_counted(chart):
        values = figures.counts.measured.get(chart.name, ())
        before = () if figures.previous is None else figures.previous.measured.get(chart.name, ())
        return Sample(
            start_at_ns=start_ns,
            end_at_ns=end_ns,
            revision=figures.revision,
            size=len(values),
            values=values,
            previous=plotted_mean(chart, before),
        )
    count, size = _count_of(chart, figures.counts)
    counted_before = None if figures.previous is None else _count_of(chart, figures.previous)
    return Sample(
        start_at_ns=start_ns,
        end_at_ns=end_ns,
        revision=figures.revision,
        counted=count,
        size=size,
        previous=None
        if counted_before is None
        else plotted_value(chart, count=counted_before[0], size=counted_before[1]),
    )


def _count_of(chart: Chart, counts: PaneCounts) -> tuple[int, int]:
    """What is counted, and in how many parts."""
    if not isinstance(chart.figure, Defects):
        return counts.not_ok, counts.ok + counts.not_ok
    if chart.figure.class_name is None:
        return counts.defects, counts.parts
    return counts.defects_by_class.get(chart.figure.class_name, 0), counts.parts
