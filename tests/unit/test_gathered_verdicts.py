"""Counting verdicts by the batch is counting them one after the other: sums, revisions, watermark, what is told and noticed."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.gathered_verdicts import Counted
from processors.statistics_counts import AnyVerdict
from processors.statistics_panes import Fed, Panes
from schemas.chart_settings import Chart, PictureMeasurement
from schemas.inspections import Defect
from schemas.reasons import VerdictValue
from schemas.statistics import Pane
from schemas.statistics_settings import Shift, SlidingWindow, StatisticsSettings
from schemas.verdicts import CountedDefect, CountedVerdict, CountedView, MeasuredView

S = 1_000_000_000
SETTINGS = StatisticsSettings(
    windows_ms=(2_000, 10_000),
    sliding=(SlidingWindow(length_ms=6_000, every_ms=3_000),),
    shifts=(Shift(name="early", begins="00:00", ends="00:02"), Shift(name="late", begins="00:02", ends="00:00")),
    by=("recipe", "tool", "shift"),
    grace_ms=1_000,
    idle_timeout_ms=3_000,
    charts=(
        Chart(name="size", figure=PictureMeasurement(measure="area_px"), chart="xbar_r", subgroup=2, window_ms=2_000),
    ),
)
DEFECT = (CountedView(outcome="inspected", defects=(CountedDefect(class_name="open"),)),)


class Step(NamedTuple):
    """A batch of the log, and the time at which the stage looks what is due after it."""

    records: list[Counted]
    now_ns: int


@st.composite
def logs(draw: st.DrawFn) -> list[Step]:
    """Mostly parts that follow each other; some late, twice, reviewed, with a defect, a challenge, or from a clock that runs ahead."""
    steps, at_ms, offset = [], 100_000, 0
    for _ in range(draw(st.integers(1, 4))):
        records: list[Counted] = []
        for _ in range(draw(st.integers(0, 12))):
            at_ms += draw(st.sampled_from((0, 0, 100, 100, 400, 900, 3_500, -200)))
            offset += draw(st.integers(1, 3))
            event_ms = at_ms - draw(st.sampled_from((0, 0, 0, 300, 2_500, 20_000, -500, -2_000)))
            number = draw(st.integers(0, 25))
            verdict = CountedVerdict(
                id="",
                station=draw(st.sampled_from(("a", "a", "b"))),
                line="line-1",
                part_id=str(number),
                visit=draw(st.sampled_from((1, 1, 1, 2))),
                revision=draw(st.sampled_from((1, 1, 1, 2))),
                verdict=draw(st.sampled_from((VerdictValue.OK, VerdictValue.OK, VerdictValue.NOT_DECIDABLE))),
                arrived_at_ns=event_ms * 1_000_000,
                recipe=draw(st.sampled_from(("board@1", "board@1", "plate@1"))),
                labels=draw(st.sampled_from(({}, {}, {"tool": "t1"}, {"tool": "t2"}))),
                challenge="bare board" if number == 13 else "",
            )
            if number % 7 == 5:
                verdict = msgspec.structs.replace(verdict, verdict=VerdictValue.NOT_OK, views=DEFECT)
            if number == 12:
                verdict = msgspec.structs.replace(verdict, measured=(_measured(offset),))
            records.append((verdict, offset, at_ms))
        steps.append(Step(records, (at_ms + draw(st.sampled_from((50, 50, 4_000)))) * 1_000_000))
    return steps


class Seen(NamedTuple):
    """Everything that a caller can see of panes."""

    odd: list[Fed]
    told: list[Pane]
    held: list[Pane]
    missing: set[object]
    parts: int


@given(logs(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_by_the_batch_as_one_after_the_other(log: list[Step], clock_moves: bool) -> None:
    together, one_by_one = _panes(), _panes()
    for step in log:
        odd = [fed for _, fed in together.feed_all(step.records)]
        fed = [one_by_one.feed(verdict, offset=offset, record_at_ms=at_ms) for verdict, offset, at_ms in step.records]
        if clock_moves:
            together.clock_at(step.now_ns)
            one_by_one.clock_at(step.now_ns)
        assert _seen(together, odd, step.now_ns) == _seen(
            one_by_one, [each for each in fed if each is not Fed.COUNTED], step.now_ns
        )


def test_parts_that_follow_each_other_are_gathered() -> None:
    """Otherwise the law above would hold for a lane that takes nothing."""
    panes = _panes()
    parts = [_plain(number) for number in range(50)]
    parts[20] = msgspec.structs.replace(parts[20], verdict=VerdictValue.NOT_OK, views=DEFECT)
    parts.insert(30, parts[10])  # a topic may hold it twice
    waiting = iter([(part, number, 100_000 + number) for number, part in enumerate(parts)])
    verdict, offset, at_ms = next(waiting)
    panes.feed(verdict, offset=offset, record_at_ms=at_ms)
    odd: list[tuple[AnyVerdict, Fed]] = []
    assert panes._gathered(waiting, odd) is None
    assert odd == [(parts[10], Fed.DUPLICATE)]
    assert panes.parts_held == 50
    assert all(pane.counts.parts == 50 for pane in panes.held())


def _measured(area_px: int) -> MeasuredView:
    found = Defect(class_name="open", score=0.9, box=(0, 0, 4, 4), area_px=float(area_px))
    return MeasuredView(view="top", outcome="inspected", defects=(found,))


def test_parts_that_were_measured_are_in_their_window_one_by_one() -> None:
    parts = [msgspec.structs.replace(_plain(number), views=DEFECT, measured=(_measured(9),)) for number in (3, 1, 2)]
    panes = _panes()
    panes.feed_all([(part, number, 100_010) for number, part in enumerate([_plain(0), *parts])])
    window = next(pane for pane in panes.held() if pane.window_ms == 2_000 and not pane.by)
    assert window.counts.measured == {"size": (9.0, 9.0)}


def test_parts_that_are_alike_but_for_their_shift_are_told_apart_by_it() -> None:
    panes = _panes()
    parts = [_plain(number * 8_000) for number in range(5)]  # from 100 s to 132 s; the shift changes at 120 s
    panes.feed_all([(part, number, 100_000 + number * 8_000) for number, part in enumerate(parts)])
    shifts = {pane.level: pane.counts.parts for pane in panes.held() if pane.by == "shift" and pane.kind == "shift"}
    assert shifts == {"early": 3, "late": 2}


def _panes() -> Panes:
    return Panes(settings=SETTINGS, opportunities=lambda _: 8)


def _seen(panes: Panes, odd: list[Fed], now_ns: int) -> Seen:
    told = panes.due(now_ns)
    return Seen(odd, told, panes.held(), set(panes.take_missing()), panes.parts_held)


def _plain(number: int) -> CountedVerdict:
    return CountedVerdict(
        id="", station="a", line="line-1", part_id=str(number), visit=1, revision=1, verdict=VerdictValue.OK,
        arrived_at_ns=(100_000 + number) * 1_000_000, recipe="board@1",
    )  # fmt: skip
