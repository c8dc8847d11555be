"""The figures are exact: whatever the order, duplicates, revisions and restarts, they equal a recount of the verdicts."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.station_pane import StationWindow
from processors.statistics_figures import Figures
from processors.statistics_panes import Fed, Panes
from processors.statistics_recount import Recount
from processors.windows import Window
from schemas.inspections import Defect
from schemas.reasons import FailSafe, VerdictValue
from schemas.statistics import Pane, PaneCounts, WindowStatistics
from schemas.statistics_settings import StatisticsSettings
from schemas.verdicts import Verdict, ViewResult, verdict_id

S = 1_000_000_000
NOW_NS = 10**18
SETTINGS = StatisticsSettings(windows_ms=(2_000, 10_000), grace_ms=1_000, idle_timeout_ms=3_000)
OPPORTUNITIES = {"board@1": 5, "plate@1": 2}


class Logged(NamedTuple):
    """A verdict as it stands in the log."""

    verdict: Verdict
    offset: int
    record_at_ms: int


def verdict(
    *,
    part: str,
    arrived_s: float,
    value: VerdictValue = VerdictValue.OK,
    visit: int = 1,
    revision: int = 1,
    station: str = "a",
    classes: tuple[str, ...] = (),
    recipe: str = "board@1",
) -> Verdict:
    return Verdict(
        id=verdict_id(station=station, part_id=part, visit=visit, revision=revision),
        station=station,
        line="line-1",
        part_id=part,
        visit=visit,
        revision=revision,
        verdict=value,
        action=FailSafe.REJECT,
        arrived_at_ns=int(arrived_s * S),
        decided_at_ns=int(arrived_s * S) + S // 10,
        recipe=recipe,
        views=(
            ViewResult(
                view="top",
                outcome="inspected",
                defects=tuple(Defect(class_name=c, score=0.9, box=(0, 0, 4, 4), area_px=9.0) for c in classes),
            ),
        ),
    )


@st.composite
def logs(draw: st.DrawFn) -> list[Logged]:
    """A log of verdicts out of order, some much too late, with duplicates and revisions in any order."""
    parts = draw(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.integers(0, 120)), max_size=25))
    arrivals: dict[tuple[str, str, int], float] = {}
    verdicts: list[Verdict] = []
    for station, number, tenths in parts:
        visit = draw(st.integers(1, 2))
        arrived_s = arrivals.setdefault((station, str(number), visit), 100 + tenths / 2)
        for revision in draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)):
            verdicts.append(
                verdict(
                    part=str(number),
                    arrived_s=arrived_s,
                    value=list(VerdictValue)[(number + revision) % 3],
                    visit=visit,
                    revision=revision,
                    station=station,
                    classes=("open", "short", "open")[: (number * revision) % 4],
                    recipe="board@1" if number % 2 else "plate@1",
                )
            )
    order = draw(st.permutations(verdicts))
    log, now_ms = [], 100_000
    for offset, item in enumerate(order):
        now_ms = max(now_ms + draw(st.integers(0, 4_000)), item.decided_at_ns // 1_000_000)
        log.append(Logged(item, offset * 2 + 3, now_ms))  # offsets have holes
    return log


def batch_recount(log: list[Logged]) -> dict[StationWindow, PaneCounts]:
    """The figures as a quality engineer would count them: newest revision of each part, then sums per window."""
    newest: dict[tuple[str, str, int], Verdict] = {}
    for item, _, _ in log:
        key = (item.station, item.part_id, item.visit)
        if key not in newest or item.revision > newest[key].revision:
            newest[key] = item
    sums: dict[StationWindow, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    classes: dict[StationWindow, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    on_undecided: dict[StationWindow, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for item in newest.values():
        for length_ms in SETTINGS.windows_ms:
            length_ns = length_ms * 1_000_000
            window = StationWindow(item.station, Window(item.arrived_at_ns // length_ns * length_ns, length_ms))
            sums[window]["parts"] += 1
            sums[window][item.verdict.lower()] += 1
            sums[window]["units"] += item.visit == 1
            sums[window]["first_pass_ok"] += item.visit == 1 and item.verdict == "OK"
            sums[window]["opportunities"] += OPPORTUNITIES[item.recipe]
            undecided = item.verdict == "NOT_DECIDABLE"
            sums[window]["undecided_opportunities"] += OPPORTUNITIES[item.recipe] * undecided
            for defect in (defect for view in item.views for defect in view.defects):
                sums[window]["defects"] += 1
                classes[window][defect.class_name] += 1
                if undecided:
                    on_undecided[window][defect.class_name] += 1
    return {
        window: PaneCounts(
            **counts,
            defects_by_class=dict(sorted(classes[window].items())),
            undecided_defects_by_class=dict(sorted(on_undecided[window].items())),
        )
        for window, counts in sums.items()
    }


class Told:
    """What subscribers see: the highest revision of each window. Fails when one id is told with two contents."""

    def __init__(self) -> None:
        self.by_id: dict[str, Pane] = {}
        self.final: dict[StationWindow, Pane] = {}

    def take(self, panes: list[Pane]) -> None:
        for pane in panes:
            assert self.by_id.setdefault(pane.id, pane) == pane, "one id, two contents"
            key = StationWindow(pane.station, Window(pane.start_at_ns, pane.window_ms))
            if key not in self.final or pane.revision > self.final[key].revision:
                self.final[key] = pane


def panes_of(complete_from_ns: int = 0) -> Panes:
    return Panes(settings=SETTINGS, opportunities=OPPORTUNITIES.__getitem__, complete_from_ns=complete_from_ns)


def recounted(wanted: set[StationWindow], log: list[Logged]) -> list[Pane]:
    recount = Recount(wanted=wanted, settings=SETTINGS, opportunities=OPPORTUNITIES.__getitem__, limit_bytes=1 << 30)
    for item, offset, record_at_ms in log:
        if record_at_ms * 1_000_000 >= recount.from_ns:
            recount.feed(item, offset=offset, record_at_ms=record_at_ms)
    return recount.panes()


def run(log: list[Logged], told: Told, *, restarts: set[int], flushes: set[int]) -> Panes:
    """The stage's life, simulated: what was flushed is committed; a restart begins anew from the committed position with
    the history that the stage reads back (from two windows before it)."""
    panes, committed = panes_of(), 0
    position = 0
    crashed: set[int] = set()
    while position < len(log):
        if position in restarts - crashed:
            crashed.add(position)
            from_ns = max(0, log[committed].record_at_ms * 1_000_000 - 24 * S)
            panes = panes_of(from_ns)
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
            last = position == len(log)
            told.take(panes.due(at_ms * 1_000_000 + last * 3600 * S))
            if missing := panes.take_missing():
                told.take(recounted(missing, log[:position]))
            committed = position
    return panes


@settings(max_examples=300, deadline=None)
@given(logs(), st.sets(st.integers(1, 60), max_size=4), st.sets(st.integers(1, 60)))
def test_final_revisions_equal_a_batch_recount(log: list[Logged], restarts: set[int], flushes: set[int]) -> None:
    told = Told()
    run(log, told, restarts=restarts, flushes=flushes)
    assert {key: pane.counts for key, pane in told.final.items()} == batch_recount(log)


@settings(max_examples=100, deadline=None)
@given(logs(), st.sets(st.integers(1, 60)))
def test_every_window_is_closed_in_the_end_even_when_nothing_follows(log: list[Logged], flushes: set[int]) -> None:
    told = Told()
    panes = run(log, told, restarts=set(), flushes=flushes)
    panes.clock_at(10_000 * S)
    told.take(panes.due(10_000 * S))
    assert all(pane.closed for pane in told.final.values())
    assert {key: pane.counts for key, pane in told.final.items()} == batch_recount(log)


def feed(panes: Panes, *items: tuple[Verdict, float]) -> None:
    for offset, (item, record_s) in enumerate(items):
        panes.feed(item, offset=offset, record_at_ms=int(record_s * 1000))


def test_an_open_window_is_told_while_it_fills_and_told_closed_once() -> None:
    panes = panes_of()
    panes.feed(verdict(part="1", arrived_s=100.5), offset=0, record_at_ms=100_600)
    first = {pane.window_ms: pane for pane in panes.due(NOW_NS)}
    assert (first[2_000].counts.parts, first[2_000].closed) == (1, False)
    panes.feed(verdict(part="2", arrived_s=101.5), offset=1, record_at_ms=101_600)
    assert panes.due(NOW_NS + S // 2) == [], "at most once a second"
    second = {pane.window_ms: pane for pane in panes.due(NOW_NS + S)}
    assert second[2_000].counts.parts == 2
    assert second[2_000].revision > first[2_000].revision
    assert not panes.urgent
    panes.feed(verdict(part="3", arrived_s=103.5), offset=2, record_at_ms=103_600)
    assert panes.urgent
    closed = [pane for pane in panes.due(NOW_NS) if pane.closed]
    assert [(pane.start_at_ns, pane.window_ms, pane.counts.parts) for pane in closed] == [(100 * S, 2_000, 2)]
    assert panes.due(NOW_NS) == []


def test_a_late_verdict_corrects_a_closed_window_and_is_counted() -> None:
    panes = panes_of()
    feed(panes, (verdict(part="1", arrived_s=100.5), 100.6), (verdict(part="2", arrived_s=104), 104.1))
    before = next(pane for pane in panes.due(NOW_NS) if pane.start_at_ns == 100 * S and pane.window_ms == 2_000)
    late = verdict(part="3", arrived_s=101, value=VerdictValue.NOT_OK)
    assert panes.feed(late, offset=2, record_at_ms=104_200) is Fed.LATE
    assert panes.urgent
    after = next(pane for pane in panes.due(NOW_NS) if pane.start_at_ns == 100 * S and pane.window_ms == 2_000)
    assert after.revision > before.revision
    assert (after.counts.parts, after.counts.not_ok, after.late_parts, after.closed) == (2, 1, 1, True)
    assert panes.feed(late, offset=3, record_at_ms=104_300) is Fed.DUPLICATE
    assert panes.due(NOW_NS) == []


def test_stations_whose_clocks_differ_are_each_counted_whole() -> None:
    """One is right, one an hour ahead, one half a minute behind: in one partition, with one watermark."""
    skews_s = {"a": 0.0, "b": 3_600.0, "c": -30.0}
    log = [
        Logged(
            verdict(part=str(number), arrived_s=100 + number / 4 + skew_s, station=station),
            offset=3 * number + place,
            record_at_ms=int(100_100 + number * 250),
        )
        for number in range(80)
        for place, (station, skew_s) in enumerate(skews_s.items())
    ]
    told = Told()
    run(log, told, restarts={100}, flushes=set(range(0, 240, 7)))
    assert {key: pane.counts for key, pane in told.final.items()} == batch_recount(log)
    late = {key.station for key, pane in told.final.items() if pane.late_parts}
    assert late == {"c"}, "the clock ahead makes nobody late; the one behind is corrected, and says so"


def test_a_review_replaces_what_the_line_had_counted() -> None:
    panes = panes_of()
    rejected = verdict(part="1", arrived_s=100.5, value=VerdictValue.NOT_OK, classes=("open", "open"))
    reviewed = verdict(part="1", arrived_s=100.5, value=VerdictValue.OK, revision=2)
    feed(panes, (rejected, 100.6), (reviewed, 101))
    counts = panes.due(NOW_NS)[0].counts
    assert (counts.parts, counts.ok, counts.not_ok, counts.first_pass_ok) == (1, 1, 0, 1)
    assert (counts.defects, counts.defects_by_class) == (0, {})


def test_state_is_bounded_by_the_windows_not_by_the_run() -> None:
    panes = panes_of()
    for number in range(2_000):
        panes.feed(
            verdict(part=str(number), arrived_s=100 + number), offset=number, record_at_ms=100_000 + number * 1000
        )
        panes.due(NOW_NS)
    assert panes.parts_held < 60
    assert panes.windows_held < 60


def test_a_verdict_for_a_window_that_is_not_held_is_named_and_counted_from_the_log() -> None:
    log = [Logged(verdict(part=str(n), arrived_s=100 + n), n, 100_000 + n * 1000) for n in range(200)]
    panes = panes_of()
    for item, offset, at_ms in log:
        panes.feed(item, offset=offset, record_at_ms=at_ms)
        panes.due(NOW_NS)
    review = verdict(part="1", arrived_s=101, value=VerdictValue.NOT_OK, revision=2)
    log.append(Logged(review, 200, 400_000))
    panes.feed(*log[-1][:1], offset=200, record_at_ms=400_000)
    missing = panes.take_missing()
    assert {(key.window.start_at_ns, key.window.length_ms) for key in missing} == {(100 * S, 2_000), (100 * S, 10_000)}
    corrected = {pane.window_ms: pane for pane in recounted(missing, log)}
    assert (corrected[2_000].counts.parts, corrected[2_000].counts.not_ok) == (2, 1)
    assert (corrected[10_000].counts.parts, corrected[10_000].counts.not_ok) == (10, 1)
    assert all(pane.closed and pane.late_parts == 1 for pane in corrected.values())


def pane(*, station: str, revision: int, parts: int, start_s: int = 100, closed: bool = False) -> Pane:
    return Pane(
        id=f"{station}/2000/{start_s * S}/{revision}",
        line="line-1",
        station=station,
        window_ms=2_000,
        start_at_ns=start_s * S,
        revision=revision,
        counts=PaneCounts(
            parts=parts, ok=parts - 1, not_ok=1, defects=1, opportunities=parts, defects_by_class={"open": 1}
        ),
        closed=closed,
    )


def final(figures: list[WindowStatistics]) -> dict[tuple[str, str], WindowStatistics]:
    newest: dict[tuple[str, str], WindowStatistics] = {}
    for item in figures:
        key = (item.scope, item.name)
        if key not in newest or item.revision > newest[key].revision:
            newest[key] = item
    return newest


def test_a_line_is_the_sum_of_the_newest_panes_of_its_stations() -> None:
    figures = Figures(settings=SETTINGS)
    for offset, item in enumerate(
        [
            pane(station="a", revision=2, parts=3),
            pane(station="b", revision=4, parts=10, closed=True),
            pane(station="a", revision=8, parts=5, closed=True),
            pane(station="a", revision=6, parts=4),  # overtaken
        ]
    ):
        figures.feed(item, offset=offset)
    newest = final(figures.due())
    line = newest[("line", "line-1")]
    assert (line.counts.parts, line.counts.not_ok, line.counts.defects_by_class) == (15, 2, {"open": 2})
    assert line.closed
    assert line.p_chart is not None
    assert line.p_chart.value == 2 / 15
    assert newest[("station", "a")].counts.parts == 5
    assert figures.due() == []


def test_the_yield_of_a_line_is_that_of_units_that_pass_every_station() -> None:
    figures = Figures(settings=SETTINGS)
    for offset, (station, passed) in enumerate((("a", 5), ("b", 10), ("c", 0))):
        units = 10 if passed else 0
        counts = PaneCounts(parts=units, ok=passed, not_ok=units - passed, units=units, first_pass_ok=passed)
        made = msgspec.structs.replace(pane(station=station, revision=2, parts=10, closed=True), counts=counts)
        figures.feed(made, offset=offset)
    line = final(figures.due())["line", "line-1"]
    assert line.first_pass_yield_ratio == 0.5  # 0.75 is the mean; c saw no unit


@given(
    st.permutations([pane(station=s, revision=2 * r, parts=r + 1) for s in "ab" for r in range(1, 4)]),
    st.integers(0, 6),
)
def test_line_figures_are_the_same_in_any_order_and_after_a_restart(panes: list[Pane], restart: int) -> None:
    figures = Figures(settings=SETTINGS)
    told = []
    for offset, item in enumerate(panes):
        if offset == restart:
            figures = Figures(settings=SETTINGS)
            for earlier, seen in enumerate(panes[:offset]):
                figures.feed(seen, offset=earlier)
            figures.settle()
        figures.feed(item, offset=offset)
        told += figures.due()
    by_id: dict[str, WindowStatistics] = {}
    assert all(by_id.setdefault(item.id, item) == item for item in told)
    line = final(told)[("line", "line-1")]
    assert line.counts.parts == 8
    assert not line.closed


def test_a_pane_of_a_window_not_held_is_named() -> None:
    figures = Figures(settings=SETTINGS, complete_from_ns=200 * S)
    figures.feed(pane(station="a", revision=2, parts=3), offset=9)
    assert figures.due() == []
    (missing,) = figures.take_missing()
    again = Figures(settings=SETTINGS)
    again.feed(pane(station="a", revision=2, parts=3), offset=9)
    assert {(item.scope, item.revision) for item in again.figures([missing])} == {("station", 2), ("line", 10)}


def test_panes_travel() -> None:
    panes = panes_of()
    feed(panes, (verdict(part="1", arrived_s=100.5, classes=("open",)), 100.6))
    (first, *_) = panes.due(NOW_NS)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(first), type=Pane) == first
