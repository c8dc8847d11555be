"""The law of charts over counts: whatever the order, duplicates, late parts, reviews and restarts, the last revision of every point
equals one made at once from SQL over the verdicts, with textbook limits worked out here."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from processors.counted_charts import CountedCharts, Reworked, held_ms
from processors.statistics_figures import Figures
from processors.statistics_panes import Panes
from schemas.chart_settings import Chart, CountedBaseline, Defects, NotOk
from schemas.charts import ChartPoint
from schemas.inspections import Defect
from schemas.reasons import FailSafe, VerdictValue
from schemas.statistics import WindowStatistics
from schemas.statistics_settings import StatisticsSettings
from schemas.verdicts import Verdict, ViewResult, verdict_id

S = 1_000_000_000
W = 2
RATE = 0.2
FROZEN_S = 140
BASELINE = CountedBaseline(
    chart="share", subject="station/a", points=30, from_ns=0, to_ns=90 * S, data="made up", frozen_by="M. Keller",
    frozen_at_ns=FROZEN_S * S, applies_from_ns=FROZEN_S * S, rate=RATE, counted=60, looked_at=300,
)  # fmt: skip
SETTINGS = StatisticsSettings(
    windows_ms=(W * 1_000,),
    grace_ms=1_000,
    idle_timeout_ms=3_000,
    charts=(
        Chart(name="share", figure=NotOk(), chart="p", window_ms=W * 1_000, rules=("eight_on_one_side",)),
        Chart(name="slow", figure=NotOk(), chart="ewma", window_ms=W * 1_000, by="line"),
        Chart(name="opens", figure=Defects(class_name="open"), chart="c", window_ms=W * 1_000),
    ),
    baselines=(
        BASELINE,
        CountedBaseline(
            chart="slow", subject="line/l", points=30, from_ns=0, to_ns=0, data="made up", frozen_by="M. Keller",
            frozen_at_ns=0, applies_from_ns=0, rate=RATE, counted=60, looked_at=300,
        ),
    ),
)  # fmt: skip
LENGTH_NS = W * S


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
    defects = (Defect(class_name="open", score=0.9, box=(0, 0, 4, 4), area_px=9.0),) * (value is VerdictValue.NOT_OK)
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
        views=(ViewResult(view="top", camera="c", outcome="inspected", defects=defects),),
    )


def sql_windows(log: list[Logged]) -> list[tuple[int, int, int, int]]:
    """Begin, NOT_OK, decided and all parts of every window, by SQL over the newest revisions."""
    base = sqlite3.connect(":memory:")
    base.execute("create table verdicts (part, revision, verdict, arrived)")
    rows = {(v.part_id, v.revision, v.verdict.value, v.arrived_at_ns) for v, _, _ in log}
    base.executemany("insert into verdicts values (?, ?, ?, ?)", sorted(rows))
    return list(
        base.execute(
            f"""select arrived / {LENGTH_NS} * {LENGTH_NS} as start, sum(verdict = 'NOT_OK'),
            sum(verdict <> 'NOT_DECIDABLE'), count(*) from
            (select *, row_number() over (partition by part order by revision desc) as place from verdicts)
            where place = 1 group by 1 order by 1"""
        )
    )


Expected = dict[tuple[str, int], tuple[float | None, bool, tuple[str, ...]]]


def expected(log: list[Logged]) -> Expected:
    found: Expected = {}
    windows = sql_windows(log)
    for at, (start, bad, decided, parts) in enumerate(windows):
        past = [w for w in windows[: at + 1] if w[0] > start - 100 * LENGTH_NS]
        found["opens", start] = (float(bad), False, ())  # phase I: no limits
        if decided == 0:
            found["share", start] = found["slow", start] = (None, False, ())
            continue
        assert parts >= decided
        outside, rules = False, ()
        if start >= FROZEN_S * S:
            tail = (1 - 0.9973) / 2
            outside = not binom.ppf(tail, decided, RATE) <= bad <= binom.isf(tail, decided, RATE)
            since = [w for w in past if w[0] >= FROZEN_S * S and w[2] > 0][-8:]
            sides = {binom.cdf(b - 1, n, RATE) + binom.pmf(b, n, RATE) / 2 > 0.5 for _, b, n, _ in since}
            rules = ("eight_on_one_side",) if len(since) == 8 and len(sides) == 1 else ()
        found["share", start] = (bad / decided, outside, rules)
        z = 0.0
        for _, b, n, _ in past:
            if n:
                z = 0.2 * (b / n - RATE) / (RATE * (1 - RATE) / n) ** 0.5 + 0.8 * z
        found["slow", start] = (z, abs(z) > 2.962 * (0.2 / 1.8) ** 0.5, ())
    return found


class Stage:
    """What the statistics stage does between its topics, without them; `crash` begins anew from what is on them."""

    def __init__(self) -> None:
        self.figures_told: list[WindowStatistics] = []
        self.points_told: list[ChartPoint] = []
        self.panes = Panes(settings=SETTINGS, opportunities=lambda _: 0)
        self.figures = Figures(settings=SETTINGS)
        self.charts = CountedCharts(settings=SETTINGS)
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
            reworked = Reworked(settings=SETTINGS, missing=missing)
            for told in self.figures_told:
                if told.start_at_ns + told.window_ms * 1_000_000 >= reworked.from_ns:
                    reworked.feed(told)
            points += reworked.points()
        self.figures_told += figures
        self.points_told += points

    def crash(self) -> None:
        """Windows are held for long here, so that only the charts begin anew; `test_statistics_apart` has the windows' own law."""
        newest = max((point.end_at_ns for point in self.points_told), default=0)
        from_ns = newest - held_ms(SETTINGS) * 1_000_000
        self.charts = CountedCharts(settings=SETTINGS, whole_from_ns=max(0, from_ns))
        for point in self.points_told:
            if point.end_at_ns >= from_ns:
                self.charts.recall(point)


def last_revisions(points: list[ChartPoint]) -> dict[tuple[str, int], ChartPoint]:
    """As a subscriber keeps them; of one id there is one content."""
    by_id: dict[str, ChartPoint] = {}
    found: dict[tuple[str, int], ChartPoint] = {}
    for point in points:
        assert by_id.setdefault(point.id, point) == point, "one id, two contents"
        key = point.chart, point.start_at_ns
        if key not in found or point.revision >= found[key].revision:
            found[key] = point
    return found


@settings(max_examples=60, deadline=None)
@given(logs(), st.sets(st.integers(1, 60), max_size=3))
def test_the_last_revision_of_every_point_equals_one_from_sql_over_the_verdicts(
    log: list[Logged], crashes: set[int]
) -> None:
    stage = Stage()
    stage.panes._held_ns = stage.figures._held_ns = 10**15  # what a review does to windows long gone is held elsewhere
    for position, logged in enumerate(log):
        stage.feed(logged, logged.record_at_ms * 1_000_000)
        if position in crashes:
            stage.crash()
    stage.panes.clock_at(10**15)
    stage.flush(10**15)
    told = {
        key: (None if p.value is None else round(p.value, 9), p.outside, p.rules)
        for key, p in last_revisions(stage.points_told).items()
    }
    wanted = {
        key: (None if value is None else round(value, 9), outside, rules)
        for key, (value, outside, rules) in expected(log).items()
    }
    assert told == wanted
