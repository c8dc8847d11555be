"""The exactness law for every kind of window and everything by which parts are told apart: equal to SQL over the verdicts."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.station_pane import StationWindow
from processors.statistics_panes import Panes
from processors.statistics_recount import Recount
from processors.windows import Window
from schemas.inspections import Defect
from schemas.reasons import FailSafe, VerdictValue
from schemas.statistics import Pane
from schemas.statistics_settings import SlidingWindow, StatisticsSettings
from schemas.verdicts import Verdict, ViewResult, verdict_id

S = 1_000_000_000
SETTINGS = StatisticsSettings(
    windows_ms=(2_000, 10_000),
    sliding=(SlidingWindow(length_ms=6_000, every_ms=3_000),),
    by=("recipe", "camera", "batch", "tool"),
    grace_ms=1_000,
    idle_timeout_ms=3_000,
)
HELD_NS = 22 * S  # two of the longest window and of the grace


class Logged(NamedTuple):
    """A verdict as it stands in the log."""

    verdict: Verdict
    offset: int
    record_at_ms: int


@st.composite
def logs(draw: st.DrawFn) -> list[Logged]:
    """Out of order, some much too late, with duplicates, and revisions that change verdict, defects and even the tool."""
    parts = draw(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 120)), max_size=25))
    arrivals: dict[tuple[int, int], float] = {}
    verdicts = []
    for number, halves in parts:
        visit = draw(st.integers(1, 2))
        arrived_s = arrivals.setdefault((number, visit), 100 + halves / 2)
        for revision in draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)):
            verdicts.append(_verdict(number, visit, revision, arrived_s))
    log, now_ms = [], 100_000
    for offset, item in enumerate(draw(st.permutations(verdicts))):
        now_ms = max(now_ms + draw(st.integers(0, 4_000)), item.decided_at_ns // 1_000_000)
        log.append(Logged(item, offset * 2 + 3, now_ms))
    return log


def _verdict(number: int, visit: int, revision: int, arrived_s: float) -> Verdict:
    def view(name: str, classes: tuple[str, ...], outcome: str = "inspected") -> ViewResult:
        defects = tuple(Defect(class_name=c, score=0.9, box=(0, 0, 4, 4), area_px=9.0) for c in classes)
        return ViewResult(view=name, camera=f"camera-{name}", outcome=outcome, defects=defects)

    left = ("open", "short", "open")[: (number * revision) % 4]
    return Verdict(
        id=verdict_id(station="a", part_id=str(number), visit=visit, revision=revision),
        station="a",
        line="line-1",
        part_id=str(number),
        visit=visit,
        revision=revision,
        verdict=list(VerdictValue)[(number + revision) % 3],
        action=FailSafe.REJECT,
        arrived_at_ns=int(arrived_s * S),
        decided_at_ns=int(arrived_s * S) + S // 10,
        recipe="board@1" if number % 2 else "plate@1",
        batch=f"lot-{number // 8}" if number % 5 else "",
        labels={"tool": f"t{(number + revision) % 3}"} if number % 7 else {},
        views=(view("left", left), view("right", (), "dropped" if number % 4 == 0 else "inspected")),
    )


RECOUNT = """
with newest as (select *, row_number() over (partition by part, visit order by revision desc) as place from verdicts),
counted as (select v.* from newest v where place = 1),
windows as (
    select part, visit, 'tumbling' as kind, 2 as s, arrived / 2000000000 * 2000000000 as start from counted
    union select part, visit, 'tumbling', 10, arrived / 10000000000 * 10000000000 from counted
    union select part, visit, 'sliding', 6, arrived / 3000000000 * 3000000000 from counted
    union select part, visit, 'sliding', 6, arrived / 3000000000 * 3000000000 - 3000000000 from counted),
levels as (
    select part, visit, '' as "by", '' as level, verdict, defects from counted
    union select part, visit, 'recipe', recipe, verdict, defects from counted
    union select part, visit, 'batch', batch, verdict, defects from counted where batch <> ''
    union select part, visit, 'tool', tool, verdict, defects from counted where tool <> ''
    union select part, visit, 'camera', 'camera-left', case when defects > 0 then 'NOT_OK' else 'OK' end, defects from counted
    union select part, visit, 'camera', 'camera-right', case when dropped then 'NOT_DECIDABLE' else 'OK' end, 0 from counted)
select kind, s, start, "by", level, count(*), sum(verdict = 'OK'), sum(verdict = 'NOT_OK'), sum(visit = 1),
    sum(visit = 1 and verdict = 'OK'), sum(defects)
from windows join levels using (part, visit) group by 1, 2, 3, 4, 5
"""
Figures = dict[StationWindow, tuple[int, ...]]


def sql_recount(log: list[Logged]) -> Figures:
    """The same figures by SQL: it shares no line with the code it is held against."""
    base = sqlite3.connect(":memory:")
    base.execute(
        "create table verdicts (part, visit, revision, verdict, arrived, recipe, batch, tool, defects, dropped)"
    )
    rows = {
        (v.part_id, v.visit, v.revision, v.verdict.value, v.arrived_at_ns, v.recipe, v.batch, v.labels.get("tool", ""),
         sum(len(view.defects) for view in v.views), any(view.outcome == "dropped" for view in v.views))
        for v, _, _ in log
    }  # fmt: skip
    base.executemany("insert into verdicts values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", sorted(rows))
    return {
        StationWindow("a", Window(start, length_s * 1000, kind), by, level): tuple(counts)
        for kind, length_s, start, by, level, *counts in base.execute(RECOUNT)
    }


class Told:
    """What subscribers see. Fails when one id is told with two contents."""

    def __init__(self) -> None:
        self.by_id: dict[str, Pane] = {}
        self.final: dict[StationWindow, Pane] = {}

    def take(self, panes: list[Pane]) -> None:
        for pane in panes:
            assert self.by_id.setdefault(pane.id, pane) == pane, "one id, two contents"
            window = Window(pane.start_at_ns, pane.window_ms, pane.kind, pane.shift)
            key = StationWindow(pane.station, window, pane.by, pane.level)
            if key not in self.final or pane.revision > self.final[key].revision:
                self.final[key] = pane

    def figures(self) -> Figures:
        return {
            key: (c.parts, c.ok, c.not_ok, c.units, c.first_pass_ok, c.defects)
            for key, pane in self.final.items()
            for c in (pane.counts,)
            if c.parts  # a revision may take the last part out of a level
        }


def recounted(wanted: set[StationWindow], log: list[Logged]) -> list[Pane]:
    recount = Recount(wanted=wanted, settings=SETTINGS, opportunities=lambda _: 0, limit_bytes=1 << 30)
    for item, offset, at_ms in log:
        if at_ms * 1_000_000 >= recount.from_ns:
            recount.feed(item, offset=offset, record_at_ms=at_ms)
    return recount.panes()


@settings(max_examples=100, deadline=None)
@given(logs(), st.sets(st.integers(1, 60), max_size=4), st.sets(st.integers(1, 60)))
def test_final_revisions_equal_sql_over_the_verdicts(log: list[Logged], restarts: set[int], flushes: set[int]) -> None:
    told = Told()
    panes, committed, position = Panes(settings=SETTINGS, opportunities=lambda _: 0), 0, 0
    crashed: set[int] = set()
    while position < len(log):
        if position in restarts - crashed:  # and a rebalance is one: the next owner begins like this
            crashed.add(position)
            from_ns = max(0, log[committed].record_at_ms * 1_000_000 - HELD_NS)
            panes = Panes(settings=SETTINGS, opportunities=lambda _: 0, complete_from_ns=from_ns)
            for item, offset, at_ms in log[:committed]:
                if at_ms * 1_000_000 >= from_ns:
                    panes.feed(item, offset=offset, record_at_ms=at_ms)
            panes.settle()
            position = committed
            continue
        item, offset, at_ms = log[position]
        panes.feed(item, offset=offset, record_at_ms=at_ms)
        position += 1
        if position in flushes or position == len(log):
            told.take(panes.due(at_ms * 1_000_000 + (position == len(log)) * 3600 * S))
            if missing := panes.take_missing():
                told.take(recounted(missing, log[:position]))
            committed = position
    assert told.figures() == sql_recount(log)


def test_a_correction_says_its_number_and_what_stood_before() -> None:
    panes = Panes(settings=SETTINGS, opportunities=lambda _: 0)
    panes.feed(_verdict(1, 1, 1, 100.5), offset=0, record_at_ms=100_600)
    panes.feed(_verdict(2, 1, 1, 104), offset=1, record_at_ms=104_100)
    panes.due(10**18)
    panes.feed(_verdict(4, 1, 1, 101), offset=2, record_at_ms=104_200)
    panes.feed(_verdict(5, 1, 1, 101), offset=3, record_at_ms=104_300)
    found = panes.closed_panes({StationWindow("a", Window(100 * S, 2_000))})
    pane = next(each for each in found if not each.by)
    assert pane.previous is not None
    assert (pane.late_parts, pane.counts.parts, pane.previous.parts) == (2, 3, 2)


def test_a_class_that_appears_in_the_middle_of_a_window_is_counted_from_then_on() -> None:
    panes = Panes(settings=SETTINGS, opportunities=lambda _: 0)
    for offset, number in enumerate((4, 1, 2)):
        panes.feed(_verdict(number, 1, 1, 100 + offset / 2), offset=offset, record_at_ms=102_000)
    found = panes.closed_panes({StationWindow("a", Window(100 * S, 2_000))})
    pane = next(each for each in found if not each.by)
    assert pane.counts.defects_by_class == {"open": 2, "short": 1}
