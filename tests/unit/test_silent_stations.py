"""A line's window closes when all its stations are done with it, at whatever pace their partitions are read."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.silent_stations import SilentStations
from processors.statistics_figures import Figures
from processors.statistics_panes import Panes
from processors.window_associations import WindowAssociations
from schemas.chart_settings import Chart, NotOk
from schemas.reasons import FailSafe, VerdictValue
from schemas.statistics import Pane, WindowStatistics
from schemas.statistics_settings import AssociationWindow, Shift, SlidingWindow, StatisticsSettings
from schemas.verdicts import Verdict, verdict_id

S = 1_000_000_000
LINE = {"line-1": frozenset("ab")}
SETTINGS = StatisticsSettings(
    windows_ms=(2_000, 60_000),
    grace_ms=1_000,
    idle_timeout_ms=3_000,
    charts=(Chart(name="share", figure=NotOk(), chart="p", window_ms=2_000, by="line"),),
)


def verdict(station: str, second: float, *, revision: int = 1) -> Verdict:
    part = f"{station}-{second}"
    return Verdict(
        id=verdict_id(station=station, part_id=part, visit=1, revision=revision), station=station, line="line-1", part_id=part,
        visit=1, revision=revision, verdict=VerdictValue.OK, action=FailSafe.REJECT, arrived_at_ns=int(second * S),
        decided_at_ns=int(second * S), recipe="board@1",
    )  # fmt: skip


class Partition:
    """One partition of verdicts, with one station."""

    def __init__(self, station: str) -> None:
        self.panes = Panes(settings=SETTINGS, opportunities=lambda _: 0)
        self.silent = SilentStations(settings=SETTINGS, lines={station: "line-1"})
        self.station, self.offset = station, 0

    def read(self, second: float) -> list[Pane]:
        self.panes.feed(verdict(self.station, second), offset=self.offset, record_at_ms=int(second * 1000))
        self.offset += 1
        return self.due(second)

    def idle_at(self, second: float) -> list[Pane]:
        self.panes.clock_at(int(second * S))
        self.silent.clock_at(int(second * S))
        return self.due(second)

    def due(self, second: float) -> list[Pane]:
        told = self.panes.due(int(second * S))
        return told + self.silent.due(self.panes.watermark_ns, counted=self.panes)


def closed_of_line(figures: Figures, panes: list[Pane], offset: int = 0) -> list[WindowStatistics]:
    found = []
    for number, pane in enumerate(panes):
        figures.feed(pane, offset=offset + number)
        found += figures.due()
    return [each for each in found if each.scope == "line" and each.closed and each.window_ms == 2_000]


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.integers(100, 130), max_size=12), st.sets(st.integers(100, 130), max_size=12), st.randoms(use_true_random=False)
)  # fmt: skip
def test_whatever_is_read_first_a_line_closes_with_the_parts_of_all_its_stations(
    of_a: set[int], of_b: set[int], shuffler: object
) -> None:
    told = []
    for station, seconds in (("a", of_a), ("b", of_b)):
        partition = Partition(station)
        mine = [pane for second in sorted(seconds) for pane in partition.read(second + 0.5)]
        told.append(mine + partition.idle_at(140))
    shuffler.shuffle(told)  # type: ignore[attr-defined]
    figures = Figures(settings=SETTINGS, stations=LINE)
    closed = closed_of_line(figures, [pane for mine in told for pane in mine])
    final: dict[int, list[int]] = {}
    for each in closed:
        final.setdefault(each.start_at_ns // S, []).append(each.counts.parts)
    expected: dict[int, int] = {}
    for second in (*of_a, *of_b):
        expected[second - second % 2] = expected.get(second - second % 2, 0) + 1
    assert final == {start: [parts] for start, parts in expected.items()}  # each once, and whole


def test_a_station_without_parts_has_no_figures_of_its_own_and_a_line_without_any_has_none() -> None:
    figures = Figures(settings=SETTINGS, stations=LINE)
    for number, pane in enumerate(Partition("b").idle_at(110)):
        figures.feed(pane, offset=number)
    assert figures.due() == []
    for number, pane in enumerate(Partition("a").read(100.5) + Partition("b").idle_at(110)):
        figures.feed(pane, offset=100 + number)
    assert {(each.scope, each.name) for each in figures.due()} == {("station", "a"), ("line", "line-1")}


def test_an_empty_pane_of_a_window_that_is_not_held_any_more_asks_for_nothing() -> None:
    figures = Figures(settings=SETTINGS, stations=LINE, complete_from_ns=10**12)
    for number, pane in enumerate(Partition("b").idle_at(110)):
        figures.feed(pane, offset=number)
    assert figures.take_missing() == set()


def test_of_a_station_that_never_comes_nobody_waits_longer_than_windows_are_held() -> None:
    figures, partition = Figures(settings=SETTINGS, stations=LINE), Partition("a")
    closed, panes = [], [pane for second in range(100, 400) for pane in partition.read(second + 0.5)]
    closed = closed_of_line(figures, panes)
    assert closed
    assert closed[0].start_at_ns == 100 * S
    assert all(each.counts.parts == 2 for each in closed)


def test_reviews_keep_no_window_of_a_paused_line_open() -> None:
    partition = Partition("a")
    partition.read(100.5)
    told = []
    for second in range(101, 109):  # one every second, for longer than the idle timeout
        review = verdict("a", 20.5, revision=second)
        partition.panes.feed(review, offset=second, record_at_ms=second * 1_000)
        told += partition.idle_at(second)
    assert [pane.closed for pane in told if pane.start_at_ns == 100 * S and pane.revision > 0] == [True]


def test_only_windows_that_something_waits_for_are_told_and_each_once() -> None:
    partition = Partition("a")
    told = [pane for second in range(103, 120) for pane in partition.idle_at(second)]
    assert {pane.window_ms for pane in told} == {2_000}
    assert len({pane.id for pane in told}) == len(told)
    quiet = SilentStations(settings=msgspec.structs.replace(SETTINGS, charts=()), lines={"a": "line-1"})
    assert quiet.due(500 * S, counted=()) == []


def test_sliding_windows_and_shifts_are_told_as_the_plant_file_has_them() -> None:
    wanted = msgspec.structs.replace(
        SETTINGS,
        sliding=(SlidingWindow(length_ms=6_000, every_ms=3_000),),
        shifts=(Shift(name="early", begins="00:02", ends="00:05"),),
        by=("recipe",),
        charts=(Chart(name="share", figure=NotOk(), chart="p", over="sliding", window_ms=6_000, by="line"),),
        associations=(AssociationWindow(over="shift"),),
    )
    silent = SilentStations(settings=wanted, lines={"a": "line-1"})
    silent.due(290 * S, counted=())
    told = silent.due(303 * S, counted=())
    spans = sorted((pane.kind, pane.start_at_ns // S, pane.window_ms // 1000, pane.shift) for pane in told)
    assert spans == [
        ("shift", 120, 180, "early"),
        ("sliding", 285, 6, ""),
        ("sliding", 288, 6, ""),
        ("sliding", 291, 6, ""),
        ("sliding", 294, 6, ""),
    ]


@pytest.mark.parametrize("idle_first", [True, False])
def test_windows_of_a_backlog_are_held_though_an_idle_partition_has_come_to_the_present(idle_first: bool) -> None:
    compares = msgspec.structs.replace(
        SETTINGS, charts=(), by=("recipe",), associations=(AssociationWindow(window_ms=60_000),)
    )
    panes = Panes(settings=compares, opportunities=lambda _: 0)
    silent = SilentStations(settings=compares, lines={"a": "line-1"})
    figures = Figures(settings=compares, stations={"line-1": frozenset("a")})
    associations = WindowAssociations(settings=compares)
    if idle_first:  # before the first part is read
        silent.clock_at(900 * S)
    told = silent.due(panes.watermark_ns, counted=panes)
    for second in (130, 131):
        panes.feed(verdict("a", second), offset=second, record_at_ms=131_000)
    panes.clock_at(900 * S)
    silent.clock_at(900 * S)
    told += panes.due(900 * S) + silent.due(panes.watermark_ns, counted=panes)
    compared = []
    for number, pane in enumerate(told):
        figures.feed(pane, offset=number)
        if number % 3 == 0:  # read back in several batches
            associations.note(figures.due())
    for _ in range(2):
        associations.note(figures.due())
        compared += associations.due(figures)
    assert figures.take_missing() == set()
    assert [(each.start_at_ns // S, each.decided) for each in compared] == [(120, 2)]


def test_empty_panes_of_a_plant_that_stands_still_are_forgotten() -> None:
    figures, partition = Figures(settings=SETTINGS, stations=LINE), Partition("a")
    for number, second in enumerate(range(103, 3_000)):
        for pane in partition.idle_at(second):
            figures.feed(pane, offset=number)
        figures.due()
    assert len(figures.windows()) < 100


def test_a_restart_compares_nothing_of_windows_without_parts() -> None:
    compares = msgspec.structs.replace(SETTINGS, charts=(), associations=(AssociationWindow(window_ms=2_000),))
    figures = Figures(settings=compares, stations=LINE)
    for number, pane in enumerate(Partition("b").idle_at(110)):
        figures.feed(pane, offset=number)
    figures.settle()
    associations = WindowAssociations(settings=compares)
    associations.resume(figures)
    assert [each for _ in range(20) for each in associations.due(figures)] == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(2, 60), st.booleans()), min_size=20, max_size=60))
def test_whatever_pauses_there_are_no_window_with_parts_is_forgotten_unclosed(steps: list[tuple[int, bool]]) -> None:
    figures, partition, second = Figures(settings=SETTINGS, stations=LINE), Partition("a"), 100
    panes, counted = [], set()
    for gap, is_part in steps:
        second += gap
        panes += partition.read(second + 0.5) if is_part else partition.idle_at(second)
        if is_part:
            counted.add((second - second % 2) * S)
    closed = {each.start_at_ns for each in closed_of_line(figures, panes)}
    held = {place.window.start_at_ns for place in figures.windows()}
    assert counted - held <= closed
