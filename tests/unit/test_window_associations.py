"""Causes compared by themselves: once when a window is complete, from exact counts, whatever came late, twice, or before a restart."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest
from charted_log import END_OF_TIME_NS, Logged, S, logs
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.quality.association import associations_of_counts
from processors.statistics_figures import Figures, PlaceWindow
from processors.statistics_panes import Panes
from processors.window_associations import MOST_LEVELS, WindowAssociations, associations_of_window
from processors.windows import Window
from schemas.associations import Associations
from schemas.statistics import Pane, PaneCounts, WindowStatistics
from schemas.statistics_settings import AssociationWindow, Shift, StatisticsSettings

SETTINGS = StatisticsSettings(
    windows_ms=(2_000, 600_000),
    shifts=(Shift(name="early", begins="00:02", ends="00:05"), Shift(name="late", begins="00:05", ends="00:09")),
    by=("tool", "shift"),
    grace_ms=1_000,
    idle_timeout_ms=3_000,
    associations=(AssociationWindow(over="shift"), AssociationWindow(window_ms=600_000)),
)


class Line:
    """The statistics stage's way from verdicts to comparisons, without topics; `crash` begins anew from what is on them."""

    def __init__(self) -> None:
        self.panes = Panes(settings=SETTINGS, opportunities=lambda _: 0)
        self.figures = Figures(settings=SETTINGS)
        self.panes._held_ns = self.figures._held_ns = END_OF_TIME_NS
        self.associations = WindowAssociations(settings=SETTINGS)
        self.panes_told: list[Pane] = []
        self.told: list[Associations] = []

    def flush(self, now_ns: int) -> None:
        for pane in self.panes.due(now_ns):
            self.figures.feed(pane, offset=len(self.panes_told))
            self.panes_told.append(pane)
        self.associations.note(self.figures.due())
        self.told += self.associations.due(self.figures)

    def crash(self) -> None:
        self.figures = Figures(settings=SETTINGS)
        self.figures._held_ns = END_OF_TIME_NS
        for offset, pane in enumerate(self.panes_told):
            self.figures.feed(pane, offset=offset)
        self.figures.settle()
        self.associations = WindowAssociations(settings=SETTINGS)
        for told in self.told:
            self.associations.recall(told)
        self.associations.resume(self.figures)


RECOUNT = """
with newest as (select *, row_number() over (partition by part order by revision desc) as place from verdicts),
counted as (select *, case when arrived >= 120e9 and arrived < 300e9 then 'early'
    when arrived >= 300e9 and arrived < 540e9 then 'late' else '' end as shift from newest where place = 1),
windows as (
    select part, 'tumbling' as kind, arrived / 600000000000 * 600 as start from counted
    union select part, 'shift', case shift when 'early' then 120 else 300 end from counted where shift <> ''),
levels as (
    select part, 'tool' as label, tool as level, verdict from counted
    union select part, 'shift', shift, verdict from counted where shift <> '')
select kind, start, label, level, sum(verdict = 'NOT_OK'), sum(verdict <> 'NOT_DECIDABLE')
from windows join levels using (part) group by 1, 2, 3, 4
"""

_Row = tuple[str, str, int, int, int, int]


def expected(log: list[Logged]) -> dict[tuple[str, int], list[_Row]]:
    """The rows of every window, strongest evidence first, from counts by SQL."""
    base = sqlite3.connect(":memory:")
    base.execute("create table verdicts (part, revision, verdict, arrived, tool)")
    rows = {(v.part_id, v.revision, v.verdict.value, v.arrived_at_ns, v.labels["tool"]) for v, _, _ in log}
    base.executemany("insert into verdicts values (?, ?, ?, ?, ?)", sorted(rows))
    counts: dict[tuple[str, int], dict[str, dict[str, tuple[int, int]]]] = {}
    for kind, start, label, level, bad, decided in base.execute(RECOUNT):
        counts.setdefault((kind, start), {}).setdefault(label, {})[level] = bad, decided
    return {
        window: [(r.label, r.level, r.bad, r.parts, r.other_bad, r.other_parts) for r in associations_of_counts(found)]
        for window, found in counts.items()
    }


@settings(max_examples=40, deadline=None)
@given(logs(), st.sets(st.integers(1, 60), max_size=3))
def test_the_last_comparison_of_every_window_has_the_counts_of_sql_and_none_is_told_twice(
    log: list[Logged], crashes: set[int]
) -> None:
    line = Line()
    for position, logged in enumerate(log):
        line.panes.feed(logged.verdict, offset=logged.offset, record_at_ms=logged.record_at_ms)
        line.flush(logged.record_at_ms * 1_000_000)
        if position in crashes:
            line.crash()
    line.panes.clock_at(END_OF_TIME_NS)
    for _ in range(8):  # a few at a time
        line.flush(END_OF_TIME_NS)
    assert len({each.id for each in line.told}) == len(line.told)
    last: dict[tuple[str, int], Associations] = {}
    for each in line.told:
        place = each.kind, each.start_at_ns // S
        assert place not in last or each.revision > last[place].revision
        last[place] = each
    found = {
        place: [(r.label, r.level, r.bad, r.parts, r.other_bad, r.other_parts) for r in each.levels]
        for place, each in last.items()
    }
    assert found == expected(log)


# --- when it is told --------------------------------------------------------------------------------------------------

EARLY = Window(120 * S, 180_000, "shift", "early")
PLACE = PlaceWindow("l", EARLY)


def pane(station: str, revision: int, *, by: str = "", level: str = "", not_ok: int = 1, closed: bool = True) -> Pane:
    return Pane(
        id=f"{station}/{by}={level}/{revision}", line="l", station=station, window_ms=EARLY.length_ms,
        start_at_ns=EARLY.start_at_ns, revision=revision, closed=closed, kind="shift", shift="early", by=by, level=level,
        counts=PaneCounts(parts=100, ok=100 - not_ok, not_ok=not_ok),
    )  # fmt: skip


class Told:
    """Figures and comparisons of one partition, fed with panes."""

    def __init__(self) -> None:
        self.figures = Figures(settings=SETTINGS)
        self.associations = WindowAssociations(settings=SETTINGS)
        self.offset = 0

    def flush(self, *panes: Pane) -> list[Associations]:
        for each in panes:
            self.figures.feed(each, offset=self.offset)
            self.offset += 1
        self.associations.note(self.figures.due())
        return self.associations.due(self.figures)


def test_a_shift_is_compared_when_all_its_stations_are_complete_and_nothing_came_since() -> None:
    told = Told()
    whole = [pane(station, 3, not_ok=11) for station in ("a", "b")]
    levels = [pane(s, 3, by="tool", level=t, not_ok=n) for s in ("a", "b") for t, n in (("t0", 1), ("t1", 10))]
    open_yet = msgspec.structs.replace(whole[1], revision=2, closed=False)
    assert told.flush(whole[0], open_yet, *levels) == []
    assert told.flush() == []  # station b has not closed
    assert told.flush(whole[1]) == []
    (found,) = told.flush()
    assert (found.line, found.kind, found.shift, found.not_ok, found.decided) == ("l", "shift", "early", 22, 200)
    first, second = found.levels
    assert (first.label, first.level, first.bad, first.parts, first.other_bad) == ("tool", "t1", 20, 200, 2)
    assert (first.pointed_at, second.risk_ratio < 1) == (True, True)
    assert (found.compared, found.pointed_at) == (2, 2)
    assert told.flush() == []


def test_a_correction_is_told_as_a_revision_and_a_window_that_nobody_asked_for_is_not_told() -> None:
    told = Told()
    told.flush(pane("a", 3), pane("a", 3, by="tool", level="t0"), pane("a", 3, by="tool", level="t1"))
    (first,) = told.flush()
    told.flush(pane("a", 9, by="tool", level="t1", not_ok=2))
    (second,) = told.flush()
    assert second.revision > first.revision
    assert {row.level: row.bad for row in second.levels} == {"t0": 1, "t1": 2}
    minute = msgspec.structs.replace(pane("a", 1), kind="tumbling", shift="", window_ms=2_000)
    assert [told.flush(minute), told.flush(), told.flush()] == [[], [], []]


def test_more_levels_than_can_be_tested_are_among_the_others_and_counted() -> None:
    def level(number: int, parts: int) -> WindowStatistics:
        return WindowStatistics(
            id=str(number), scope="line", name="l", line="l", window_ms=EARLY.length_ms, start_at_ns=EARLY.start_at_ns,
            revision=number, closed=True, by="batch" if number else "", level=f"b{number}" if number else "",
            counts=PaneCounts(parts=parts, ok=parts, not_ok=0),
        )  # fmt: skip

    figures = [level(0, 10_000), *(level(n, 20 if n <= MOST_LEVELS else 6) for n in range(1, MOST_LEVELS + 31))]
    found = associations_of_window(PLACE, figures)
    assert found is not None
    assert (found.compared, found.left_out, len(found.levels)) == (MOST_LEVELS, 30, 20)
    assert found.levels[0].parts + found.levels[0].other_parts == 20 * MOST_LEVELS + 6 * 30


@pytest.mark.parametrize("closed", [True, False])
def test_a_window_without_its_levels_says_so_and_an_open_one_nothing(closed: bool) -> None:
    told = Told()
    told.flush(pane("a", 3, closed=closed))
    assert [(each.compared, each.levels) for each in told.flush()] == [(0, ())] * closed


def test_the_shifts_of_many_lines_end_together_and_are_worked_out_a_few_at_a_time() -> None:
    told = Told()
    lines = [msgspec.structs.replace(pane("a", 3), line=f"l{n}") for n in range(5)]
    told.flush(*lines)
    assert [[each.line for each in told.flush()] for _ in range(4)] == [["l0", "l1"], ["l2", "l3"], ["l4"], []]
