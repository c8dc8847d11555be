"""Charts over sliding windows, over shifts, and of what inspections measured: the law, and which points follow from which.

The law is that of `test_charts_law`: the last revision of every point equals one made at once by SQL over the verdicts.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec
import numpy as np
import pytest
from charted_log import Logged, PointKey, S, logs, through_the_stage
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from cli.chart_notes import chart_notes, told
from processors.chart_baselines import apart, frozen
from processors.chart_points import Sample
from processors.chart_series import Series, Subject
from processors.chart_windows import ChartWindows, length_ms, overlapping_windows
from processors.windowed_charts import WindowedCharts
from schemas.chart_checks import chart_findings
from schemas.chart_settings import Chart, CountedBaseline, LeftOut, NotOk, PictureMeasurement
from schemas.charts import ChartPoint
from schemas.plant import Plant
from schemas.statistics import PaneCounts, WindowStatistics
from schemas.statistics_settings import Shift, SlidingWindow, StatisticsSettings

RATE = 0.2
SUBJECT = "station/a"
WIDTH = PictureMeasurement(measure="width_px", class_name="open")


def baseline(chart: str, *, from_s: int = 0, rate: float = RATE) -> CountedBaseline:
    return CountedBaseline(
        chart=chart, subject=SUBJECT, points=30, from_ns=0, to_ns=0, data="made up", frozen_by="M. Keller",
        frozen_at_ns=from_s * S, applies_from_ns=from_s * S, rate=rate, counted=60, looked_at=300,
    )  # fmt: skip


SETTINGS = StatisticsSettings(
    windows_ms=(2_000, 10_000),
    sliding=(SlidingWindow(length_ms=6_000, every_ms=2_000),),
    shifts=(
        Shift(name="early", begins="00:02", ends="00:05"),
        Shift(name="late", begins="00:05", ends="00:09"),
        Shift(name="night", begins="00:09", ends="00:13"),
    ),
    by=("tool",),
    grace_ms=1_000,
    idle_timeout_ms=3_000,
    charts=(
        Chart(
            name="hour",
            figure=NotOk(),
            chart="p",
            over="sliding",
            window_ms=6_000,
            rules=("two_of_three_beyond_2_sigma",),
        ),
        Chart(name="slow", figure=NotOk(), chart="ewma", over="sliding", window_ms=6_000),
        Chart(name="shift", figure=NotOk(), chart="p", over="shift"),
        Chart(name="size", figure=PictureMeasurement(measure="area_px"), chart="xbar_r", subgroup=2, window_ms=10_000),
        Chart(name="width", figure=WIDTH, chart="xbar_s", subgroup=2, over="shift", by="tool"),
        Chart(
            name="score",
            figure=PictureMeasurement(measure="anomaly_score", view="top"),
            chart="i_mr",
            over="sliding",
            window_ms=6_000,
        ),
    ),
    baselines=(baseline("hour", from_s=200), baseline("slow"), baseline("shift")),
)

WINDOWS = """
with newest as (select *, row_number() over (partition by part order by revision desc) as place from verdicts),
counted as (select * from newest where place = 1),
windows as (
    select part, 'ten' as kind, arrived / 10000000000 * 10000000000 as start from counted
    union select part, 'sliding', arrived / 2000000000 * 2000000000 from counted
    union select part, 'sliding', arrived / 2000000000 * 2000000000 - 2000000000 from counted
    union select part, 'sliding', arrived / 2000000000 * 2000000000 - 4000000000 from counted
    union select part, 'shift', 120000000000 from counted where arrived >= 120000000000 and arrived < 300000000000
    union select part, 'shift', 300000000000 from counted where arrived >= 300000000000 and arrived < 540000000000
    union select part, 'shift', 540000000000 from counted where arrived >= 540000000000 and arrived < 780000000000)
"""
COUNTS = f"""{WINDOWS} select kind, start, sum(verdict = 'NOT_OK'), sum(verdict <> 'NOT_DECIDABLE')
from windows join counted using (part) where kind <> 'ten' group by 1, 2 order by 2"""
VALUES = f"""{WINDOWS} select kind, start, {{by}}, {{value}} from windows join counted using (part)
where {{value}} is not null order by start, arrived, part"""

Wanted = dict[PointKey, tuple[float, bool, tuple[str, ...], float | None]]


def expected(log: list[Logged]) -> Wanted:
    """Value, whether it is outside, the rules it completes and the spread beside it; of points that have a value."""
    base = sqlite3.connect(":memory:")
    base.execute("create table verdicts (part, revision, verdict, arrived, tool, area, width, score)")
    rows = {
        (
            v.part_id, v.revision, v.verdict.value, v.arrived_at_ns, v.labels["tool"],
            max((each.area_px for each in v.views[0].defects), default=None),
            max((each.box[2] - each.box[0] for each in v.views[0].defects), default=None), v.views[0].anomaly_score,
        )
        for v, _, _ in log
    }  # fmt: skip
    base.executemany("insert into verdicts values (?, ?, ?, ?, ?, ?, ?, ?)", list(rows))
    counts: dict[str, dict[int, tuple[int, int]]] = {"sliding": {}, "shift": {}}
    for kind, start, bad, decided in base.execute(COUNTS):
        if decided:
            counts[kind][start] = bad, decided
    found: Wanted = {}
    for start, (bad, decided) in counts["shift"].items():
        found["shift", SUBJECT, start] = bad / decided, _outside(bad, decided), (), None
    for start, (bad, decided) in counts["sliding"].items():
        # only every third window, which shares no part with this one
        past = [each for k in range(99, -1, -1) if (each := counts["sliding"].get(start - k * 6 * S)) is not None]
        z = 0.0
        for b, n in past:
            z = 0.2 * (b / n - RATE) / (RATE * (1 - RATE) / n) ** 0.5 + 0.8 * z
        found["slow", SUBJECT, start] = z, abs(z) > 2.962 * (0.2 / 1.8) ** 0.5, (), None
        outside, rules = False, ()
        if start >= 200 * S:
            outside = _outside(bad, decided)
            since = [
                each
                for k in range(99, -1, -1)
                if start - k * 6 * S >= 200 * S and (each := counts["sliding"].get(start - k * 6 * S)) is not None
            ]
            rules = ("two_of_three_beyond_2_sigma",) if _two_of_three(since[-3:]) else ()
        found["hour", SUBJECT, start] = bad / decided, outside, rules, None
    for chart, kind, by, value, number in (
        ("size", "ten", "''", "area", 2), ("width", "shift", "tool", "width", 2), ("score", "sliding", "''", "score", 1)
    ):  # fmt: skip
        groups: dict[tuple[str, int], list[float]] = {}
        for row_kind, start, level, measured in base.execute(VALUES.format(by=by, value=value)):
            if row_kind == kind:
                groups.setdefault((level, start), []).append(measured)
        for (level, start), values in groups.items():
            if len(values) < number:
                continue
            first = values[:number]
            before = next(
                (groups["", start - k * 6 * S] for k in range(1, 100) if ("", start - k * 6 * S) in groups), None
            )
            spread: float | None = abs(first[0] - before[0]) if before is not None else None
            if number == 2:
                spread = abs(first[0] - first[1]) / (1 if chart == "size" else 2**0.5)
            subject = f"{SUBJECT}/tool={level}" if level else SUBJECT
            found[chart, subject, start] = sum(first) / number, False, (), spread
    return found


def _outside(bad: int, decided: int) -> bool:
    tail = (1 - 0.9973) / 2
    return not binom.ppf(tail, decided, RATE) <= bad <= binom.isf(tail, decided, RATE)


def _two_of_three(windows: list[tuple[int, int]]) -> bool:
    """By the mid-P value of each count, as the code says; two on one side, the newest among them."""
    middle = [binom.cdf(b - 1, n, RATE) + binom.pmf(b, n, RATE) / 2 for b, n in windows]
    high, low = [m > 0.977249868 for m in middle], [m < 0.022750132 for m in middle]
    return bool(middle) and any(side[-1] and sum(side) >= 2 for side in (high, low))


@settings(max_examples=25, deadline=None)
@given(logs(), st.sets(st.integers(1, 60), max_size=3))
def test_the_last_revision_of_every_point_equals_one_from_sql_over_the_verdicts(
    log: list[Logged], crashes: set[int]
) -> None:
    points = through_the_stage(log, crashes, SETTINGS)
    told_by_us = {key: _told(point) for key, point in points.items() if point.value is not None}
    wanted = {
        key: (round(value, 9), outside, rules, None if spread is None else round(spread, 9))
        for key, (value, outside, rules, spread) in expected(log).items()
    }
    assert told_by_us == wanted
    assert all(point.phase == 1 or point.baseline for point in points.values())


def _told(point: ChartPoint) -> tuple[float, bool, tuple[str, ...], float | None]:
    assert point.value is not None
    return (
        round(point.value, 9),
        point.outside,
        point.rules,
        None if point.spread is None else round(point.spread.value, 9),
    )


# --- windows that overlap ---------------------------------------------------------------------------------------------

HOURLY = Chart(name="hour", figure=NotOk(), chart="p", over="sliding", window_ms=4_000, rules=("eight_on_one_side",))
EVERY_SECOND = StatisticsSettings(sliding=(SlidingWindow(length_ms=4_000, every_ms=1_000),), charts=(HOURLY,))


def sliding_points(counts: list[int], *, chart: Chart = HOURLY, size: int = 50) -> list[ChartPoint]:
    """A point every second, each of a window of four."""
    series = Series(
        chart=chart, subject=Subject(SUBJECT, "l"), length_ns=4 * S, step_ns=4 * S, baselines=[baseline("hour")]
    )
    for second, count in enumerate(counts):
        series.put(Sample(second * S, (second + 4) * S, second + 1, count, size))
    return series.due()


def test_eight_windows_in_a_row_that_share_their_parts_are_no_run_of_eight() -> None:
    # a rate that stays high for 28 s is seven windows that share no part, and twenty-eight that do
    points = sliding_points([12] * 32)
    assert [point.start_at_ns // S for point in points if point.rules] == [28, 29, 30, 31]


def test_a_correction_revises_the_windows_that_follow_from_it_and_no_neighbour() -> None:
    chart = msgspec.structs.replace(HOURLY, chart="ewma", rules=())
    series = Series(
        chart=chart, subject=Subject(SUBJECT, "l"), length_ns=4 * S, step_ns=4 * S, baselines=[baseline("hour")]
    )
    for second in range(12):
        series.put(Sample(second * S, (second + 4) * S, second + 1, 10, 50))
    series.due()
    series.put(Sample(1 * S, 5 * S, 77, 20, 50))
    assert [(p.start_at_ns // S, p.revision) for p in series.due()] == [(1, 77), (5, 77), (9, 77)]


def test_a_baseline_is_frozen_from_windows_that_share_no_part() -> None:
    points = sliding_points([10 + (second % 4 == 2) for second in range(40)])
    chosen = apart(HOURLY, points)
    assert [point.start_at_ns // S for point in chosen] == list(range(0, 40, 4))
    left_out = LeftOut(start_at_ns=6 * S, cause="wrong solder")
    record = frozen(HOURLY, points, excluded=(left_out,), frozen_by="M. Keller", frozen_at_ns=60 * S)
    # what overlaps the excluded window (3 to 9 s) is not taken either: it holds some of the same parts
    assert isinstance(record, CountedBaseline)
    assert (record.points, record.looked_at) == (9, 9 * 50)
    assert "that do not overlap" in record.data


def test_check_says_that_overlapping_windows_are_wrong_together() -> None:
    assert overlapping_windows(HOURLY, EVERY_SECOND) == 4
    plant: Any = type("Plant", (), {"statistics": EVERY_SECOND, "alerts": ()})
    (note,) = chart_notes(plant)
    assert "a false alarm every 153 to 611 points, for 4 windows share each part" in told(note, plant_file=None)  # type: ignore[arg-type]


def test_false_alarms_of_overlapping_windows_lie_between_the_bounds_that_are_told() -> None:
    """Šidák 1967: of correlated normal points the first beyond a limit comes no sooner than of independent ones; and no later than in the
    windows of one sequence alone."""
    rng, width, overlapping = np.random.default_rng(7), 2.0, 4
    alone = 1 / 0.0455
    lengths = []
    for _ in range(400):
        steps = rng.standard_normal(overlapping * int(alone) * 12)
        windows = np.convolve(steps, np.ones(overlapping), "valid") / overlapping**0.5
        beyond = np.flatnonzero(np.abs(windows) > width)
        lengths.append(int(beyond[0]) + 1)
    assert alone < np.mean(lengths) < overlapping * alone


# --- which windows ----------------------------------------------------------------------------------------------------


def point(chart: str, start_s: int, end_s: int) -> ChartPoint:
    return ChartPoint(
        id="x", chart=chart, kind="p", subject=SUBJECT, line="l", start_at_ns=start_s * S, end_at_ns=end_s * S,
        revision=1, phase=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("chart", "start_s", "end_s", "is_its"),
    [
        ("hour", 8, 14, True),
        ("hour", 9, 15, False),
        ("hour", 8, 10, False),
        ("size", 20, 30, True),
        ("size", 22, 32, False),
        ("shift", 120, 300, True),
        ("shift", 120, 360, False),
        ("shift", 0, 180, False),
    ],
)
def test_points_of_other_windows_than_the_plant_file_has_now_are_not_read_back(
    chart: str, start_s: int, end_s: int, is_its: bool
) -> None:
    asked = next(each for each in SETTINGS.charts if each.name == chart)
    assert ChartWindows(SETTINGS).has(asked, point(chart, start_s, end_s)) is is_its


def test_a_chart_over_shifts_remembers_a_hundred_of_them_however_many_a_day_has() -> None:
    chart = Chart(name="shift", figure=NotOk(), chart="p", over="shift")
    three = StatisticsSettings(shifts=SETTINGS.shifts)
    single = StatisticsSettings(
        shifts=(Shift(name="day", begins="08:00", ends="16:00", days=("monday", "tuesday", "friday")),)
    )
    assert length_ms(chart, three) == 8 * 3_600_000
    assert length_ms(chart, single) == 56 * 3_600_000


# --- what inspections measured ----------------------------------------------------------------------------------------

SIZES = Chart(name="size", figure=PictureMeasurement(measure="area_px"), chart="xbar_r", subgroup=3, window_ms=60_000)


def sized(values: tuple[float, ...], revision: int) -> WindowStatistics:
    return WindowStatistics(
        id=str(revision), scope="station", name="a", line="l", window_ms=60_000, start_at_ns=0, revision=revision,
        closed=True, counts=PaneCounts(parts=20, ok=20, measured={"size": values} if values else {}),
    )  # fmt: skip


def test_a_window_with_too_few_values_says_so_and_one_with_none_makes_no_point() -> None:
    charts = WindowedCharts(settings=StatisticsSettings(windows_ms=(60_000,), charts=(SIZES,)))
    charts.feed(sized((), 1))
    assert charts.due() == []
    charts.feed(sized((4.0, 8.0), 2))
    (few,) = charts.due()
    assert (few.value, few.size, few.values) == (None, 2, (4.0, 8.0))
    charts.feed(sized((4.0, 8.0, 6.0), 3))
    (whole,) = charts.due()
    assert (whole.value, whole.spread and whole.spread.value) == (6.0, 4.0)
    charts.feed(sized((), 4))
    (taken_back,) = charts.due()
    assert (taken_back.value, taken_back.size) == (None, 0)


def test_who_charts_a_sliding_length_is_told_how_to_say_so() -> None:
    plant = Plant(
        plant="works",
        lines=(),
        recipes=(),
        statistics=msgspec.structs.replace(
            EVERY_SECOND, charts=(msgspec.structs.replace(HOURLY, over="tumbling", rules=()),)
        ),
    )
    (finding,) = chart_findings(plant)
    assert finding[0] == ("statistics", "charts", 0, "window_ms")
    assert "for the sliding windows of that length `over: sliding`" in finding[1]


def test_by_shift_every_shift_has_a_chart_of_its_own() -> None:
    chart = Chart(name="own", figure=NotOk(), chart="p", over="shift", by="shift")
    statistics = StatisticsSettings(shifts=SETTINGS.shifts, by=("shift",), charts=(chart,))
    assert list(chart_findings(Plant(plant="works", lines=(), recipes=(), statistics=statistics))) == []
    charts = WindowedCharts(settings=statistics)
    for start_s, name in ((120, "early"), (300, "late")):
        charts.feed(
            WindowStatistics(
                id=name,
                scope="station",
                name="a",
                line="l",
                window_ms=180_000,
                start_at_ns=start_s * S,
                revision=3,
                closed=True,
                kind="shift",
                shift=name,
                by="shift",
                level=name,
                counts=PaneCounts(parts=9, ok=9),
            )
        )
    assert [each.subject for each in charts.due()] == ["station/a/shift=early", "station/a/shift=late"]
