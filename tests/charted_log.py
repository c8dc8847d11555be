"""Logs of verdicts for the laws of charts, and the statistics stage's processors between its topics, without them."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from processors.statistics_figures import Figures
from processors.statistics_panes import Panes
from processors.windowed_charts import Reworked, WindowedCharts, held_ms
from schemas.charts import ChartPoint
from schemas.inspections import Defect
from schemas.reasons import FailSafe, VerdictValue
from schemas.statistics import WindowStatistics
from schemas.statistics_settings import StatisticsSettings
from schemas.verdicts import Verdict, ViewResult, verdict_id

S = 1_000_000_000
END_OF_TIME_NS = 10**15


class Logged(NamedTuple):
    verdict: Verdict
    offset: int
    record_at_ms: int


@st.composite
def logs(draw: st.DrawFn) -> list[Logged]:
    """Mostly in order; some late, some twice, some reviewed, also much later than windows or points are held."""
    verdicts = []
    for number in range(draw(st.integers(0, 40))):
        arrived_s = draw(st.integers(100, 900))
        for revision in draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)):
            verdicts.append(_verdict(number, revision, arrived_s))
    order = sorted(verdicts, key=lambda each: (each.arrived_at_ns, each.revision))
    for _ in range(draw(st.integers(0, 4))):
        if order:
            order.append(order.pop(draw(st.integers(0, len(order) - 1))))
    log, now_ms = [], 100_000
    for offset, each in enumerate(order):
        now_ms = max(now_ms, each.decided_at_ns // 1_000_000)
        log.append(Logged(each, offset, now_ms))
    return log


def _verdict(number: int, revision: int, arrived_s: int) -> Verdict:
    value = (VerdictValue.OK, VerdictValue.NOT_OK, VerdictValue.OK, VerdictValue.NOT_DECIDABLE)[(number + revision) % 4]
    side_px = 3 + (number * 7 + revision) % 5
    defects = (
        Defect(class_name="open", score=0.9, box=(0, 0, side_px, 4), area_px=side_px * 4.0),
        Defect(class_name="open", score=0.9, box=(0, 0, 2, 2), area_px=4.0),
    )[: (number + revision) % 3] * (value is VerdictValue.NOT_OK)
    return Verdict(
        id=verdict_id(station="a", part_id=str(number), visit=1, revision=revision),
        station="a",
        line="l",
        part_id=str(number),
        visit=1,
        revision=revision,
        verdict=value,
        action=FailSafe.REJECT,
        arrived_at_ns=arrived_s * S,
        decided_at_ns=arrived_s * S + S // 10,
        recipe="board@1",
        labels={"tool": f"t{(number + revision) % 2}"},
        views=(ViewResult(view="top", camera="c", outcome="inspected", defects=defects, anomaly_score=number / 64),),
    )


class Stage:
    """What the statistics stage does between its topics, without them; `crash` begins anew from what is on them."""

    def __init__(self, settings: StatisticsSettings) -> None:
        self.settings = settings
        self.figures_told: list[WindowStatistics] = []
        self.points_told: list[ChartPoint] = []
        self.panes = Panes(settings=settings, opportunities=lambda _: 0)
        self.figures = Figures(settings=settings)
        # what a review does to windows long gone has a law of its own: test_statistics_apart
        self.panes._held_ns = self.figures._held_ns = END_OF_TIME_NS
        self.charts = WindowedCharts(settings=self.settings)
        self.pane_offset = 0

    def feed(self, logged: Logged, now_ns: int) -> None:
        self.panes.feed(logged.verdict, offset=logged.offset, record_at_ms=logged.record_at_ms)
        self.flush(now_ns)

    def flush(self, now_ns: int) -> None:
        for pane in self.panes.due(now_ns):
            self.figures.feed(pane, offset=self.pane_offset)
            self.pane_offset += 1
        figures = self.figures.due()
        for found in figures:
            self.charts.feed(found)
        points = self.charts.due()
        if missing := self.charts.take_missing():
            reworked = Reworked(settings=self.settings, missing=missing)
            for told in self.figures_told:
                if told.start_at_ns + told.window_ms * 1_000_000 >= reworked.from_ns:
                    reworked.feed(told)
            points += reworked.points()
        self.figures_told += figures
        self.points_told += points

    def crash(self) -> None:
        """Windows are held for long here, so that only the charts begin anew; `test_statistics_apart` has the windows' own law."""
        newest = max((point.end_at_ns for point in self.points_told), default=0)
        from_ns = newest - held_ms(self.settings) * 1_000_000
        self.charts = WindowedCharts(settings=self.settings, whole_from_ns=max(0, from_ns))
        for point in self.points_told:
            if point.end_at_ns >= from_ns:
                self.charts.recall(point)


PointKey = tuple[str, str, int]
"""Chart, subject and begin."""


def last_revisions(points: list[ChartPoint]) -> dict[PointKey, ChartPoint]:
    """As a subscriber keeps them; of one id there is one content."""
    by_id: dict[str, ChartPoint] = {}
    found: dict[PointKey, ChartPoint] = {}
    for point in points:
        assert by_id.setdefault(point.id, point) == point, "one id, two contents"
        key = point.chart, point.subject, point.start_at_ns
        if key not in found or point.revision >= found[key].revision:
            found[key] = point
    return found


def through_the_stage(log: list[Logged], crashes: set[int], settings: StatisticsSettings) -> dict[PointKey, ChartPoint]:
    """The last revision of every point, when the charts begin anew after the records at `crashes`."""
    stage = Stage(settings)
    for position, logged in enumerate(log):
        stage.feed(logged, logged.record_at_ms * 1_000_000)
        if position in crashes:
            stage.crash()
    stage.panes.clock_at(END_OF_TIME_NS)
    stage.flush(END_OF_TIME_NS)
    return last_revisions(stage.points_told)
