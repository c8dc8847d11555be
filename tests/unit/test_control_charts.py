"""Charts of the plant file: points, limits, baselines, alerts, and what each costs in false alarms."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hand_made_charts import (
    FLOW,
    FLOWS,
    MINUTE,
    SHARE,
    S,
    baseline,
    charted,
    flows,
    measured_plant,
    reading,
    sample,
    series,
)

from processors.alert_chart import ChartWatch
from processors.alert_episodes import Clear, Raise
from processors.chart_baselines import frozen
from processors.measured_charts import MeasuredCharts
from processors.windowed_charts import Reworked, WindowedCharts
from schemas.alert_rules import ChartRule, DefectRateRule
from schemas.chart_settings import (
    Chart,
    CountedBaseline,
    Defects,
    NotOk,
)
from schemas.charts import ChartPoint
from schemas.plant import Line, Plant
from schemas.rule_checks import rule_findings
from schemas.statistics import PaneCounts, WindowStatistics
from schemas.statistics_settings import StatisticsSettings

# NIST/SEMATECH e-Handbook 6.3.3.1: defects on 25 wafers; c-bar 16, limits 4 and 28.
WAFERS = (16, 14, 28, 16, 12, 20, 10, 12, 10, 17, 19, 17, 14, 16, 15, 13, 14, 16, 11, 20, 11, 19, 16, 31, 13)


def test_the_wafers_of_the_handbook_come_out_of_phase_one_as_they_are_printed() -> None:
    chart = Chart(name="wafers", figure=Defects(), chart="c", window_ms=60_000, confidence=0.9973)
    phase_one = charted(chart, [sample(m, count, 1) for m, count in enumerate(WAFERS)])
    assert {(p.phase, p.centre, p.lower, p.outside) for p in phase_one} == {(1, None, None, False)}
    record = frozen(chart, phase_one, excluded=(), frozen_by="M. Keller", frozen_at_ns=25 * MINUTE)
    assert isinstance(record, CountedBaseline)
    assert (record.rate, record.points, record.counted) == (16.0, 25, 400)
    (point,) = charted(chart, [sample(30, 29, 1)], record)
    # exact Poisson limits, which the normal ones of the handbook (4 and 28) approximate
    assert (point.phase, point.centre, point.lower, point.upper, point.outside) == (2, 16.0, 5.0, 29.0, False)
    assert charted(chart, [sample(30, 30, 1)], record)[0].outside


def test_a_baseline_applies_from_its_freezing_on_and_rules_do_not_reach_across_it() -> None:
    chart = msgspec.structs.replace(SHARE, rules=("eight_on_one_side",))
    points = charted(
        chart, [sample(m, 2) for m in range(20)], baseline(chart), baseline(chart, from_minute=10, rate=0.12)
    )
    met = [p.start_at_ns // MINUTE for p in points if p.rules]
    assert met == [7, 8, 9, 17, 18, 19]
    assert [p.centre for p in points] == [0.1] * 10 + [0.12] * 10
    assert len({p.baseline for p in points}) == 2


def test_a_late_part_revises_its_point_and_those_that_follow_from_it_and_says_what_stood_before() -> None:
    chart = Chart(name="slow", figure=NotOk(), chart="ewma", window_ms=60_000)
    held = series(chart, baseline(chart))
    for minute in range(5):
        held.put(sample(minute, 5))
    assert [p.revision for p in held.due()] == [1, 2, 3, 4, 5]
    held.put(sample(2, 9, revision=77)._replace(previous=0.1))
    revised = held.due()
    assert [(p.start_at_ns // MINUTE, p.revision) for p in revised] == [(2, 77), (3, 77), (4, 77)]
    assert (revised[0].previous, revised[1].value) == (0.1, pytest.approx(0.8 * (revised[0].value or 0)))
    assert held.due() == []


def test_a_window_whose_last_part_was_taken_away_has_a_point_without_a_value() -> None:
    held = series(SHARE, baseline())
    held.put(sample(1, 4))
    held.due()
    held.put(sample(1, 0, 0, revision=9))
    (point,) = held.due()
    assert (point.value, point.size, point.outside) == (None, 0, False)


@pytest.mark.parametrize("kind", ["p", "np", "p_laney", "ewma", "cusum"])
def test_a_thousand_million_parts_are_charted(kind: Any) -> None:
    chart = Chart(name="share", figure=NotOk(), chart=kind, window_ms=60_000)
    normal, bad = charted(
        chart,
        [sample(0, 10**8, 10**9), sample(1, 101_000_000, 10**9)],
        baseline(chart, sigma_z=1.0 if "laney" in kind else None),
    )
    assert (normal.signals, bad.signals) == (False, True)


def test_laneys_limits_are_those_of_the_baseline() -> None:
    (exact,) = charted(SHARE, [sample(1, 90, 500)], baseline())
    (wide,) = charted(SHARE, [sample(1, 90, 500)], baseline(sigma_z=2.5))
    assert exact.outside
    assert not wide.outside


def test_a_chart_of_defects_takes_the_parts_that_were_looked_at_whole() -> None:
    chart = Chart(name="opens", figure=Defects(class_name="open"), chart="u", window_ms=60_000)
    charts = WindowedCharts(settings=StatisticsSettings(windows_ms=(60_000,), charts=(chart,)))
    counts = PaneCounts(
        parts=40, ok=19, not_ok=1, not_decidable=20, defects=4, defects_by_class={"open": 4},
        undecided_defects_by_class={"open": 2},
    )  # fmt: skip
    charts.feed(msgspec.structs.replace(figures(0, level=""), by="", counts=counts))
    (point,) = charts.due()
    assert (point.count, point.size, point.value) == (2, 20, 0.1)


def test_subjects_that_ended_are_let_go_of_and_a_correction_of_them_is_worked_out_from_the_log() -> None:
    chart = msgspec.structs.replace(SHARE, by="batch")
    settings = StatisticsSettings(windows_ms=(60_000,), by=("batch",), charts=(chart,))
    charts = WindowedCharts(settings=settings)
    for minute in range(1_000):
        charts.feed(figures(minute, level=f"lot-{minute // 100}"))
        charts.due()
    assert {point.subject for point in charts.points()} <= {f"station/aoi-1/batch=lot-{n}" for n in range(6, 10)}
    assert not charts.take_missing()
    charts.feed(figures(5, level="lot-0", not_ok=7, revision=5_000))
    assert charts.due() == []
    reworked = Reworked(settings=settings, missing=charts.take_missing())
    for minute in range(100):
        reworked.feed(figures(minute, level="lot-0"))
    assert [(point.start_at_ns // MINUTE, point.count) for point in reworked.points()] == [(5, 7)]


def figures(minute: int, *, level: str, not_ok: int = 1, revision: int = 0) -> WindowStatistics:
    return WindowStatistics(
        id=f"{minute}/{revision}", scope="station", name="aoi-1", line="line-1", window_ms=60_000,
        start_at_ns=minute * MINUTE, revision=revision or minute + 1, closed=True, by="batch", level=level,
        counts=PaneCounts(parts=20, ok=20 - not_ok, not_ok=not_ok),
    )  # fmt: skip


# --- alerts ----------------------------------------------------------------------------------------------------------


def watch(clear_after_points: int = 2) -> ChartWatch:
    rule = ChartRule(name="control", chart="share", clear_after_points=clear_after_points)
    plant = Plant(plant="works", lines=(Line(name="line-1", stations=()),), recipes=())
    return ChartWatch(rule, plant=plant, stations=frozenset())


def said(watching: ChartWatch, points: list[ChartPoint]) -> list[tuple[type, int]]:
    found = [each for point in points for each in watching.see(point, at_ns=point.end_at_ns, now_ns=0)]
    return [(type(each), each.at_ns // MINUTE) for each in found]


def test_a_signal_raises_and_some_points_without_one_clear() -> None:
    counts = [5, 16, 5, 17, 5, 6, 5]
    points = charted(SHARE, [sample(m, c) for m, c in enumerate(counts)], baseline())
    found = said(watch(), points)
    assert found == [(Raise, 2), (Raise, 4), (Clear, 6), (Clear, 7)]


def test_phase_one_raises_nothing_and_a_correction_of_an_older_point_neither() -> None:
    assert said(watch(), charted(SHARE, [sample(0, 50)])) == []
    watching, held = watch(), series(SHARE, baseline())
    for minute in range(4):
        held.put(sample(minute, 5))
    assert all(kind is Clear for kind, _ in said(watching, held.due()))
    held.put(sample(1, 30, revision=99))
    assert said(watching, held.due()) == []
    held.put(sample(3, 30, revision=100))
    assert said(watching, held.due()) == [(Raise, 4)]


def test_the_alert_names_the_counts_the_limits_and_the_point() -> None:
    (point,) = charted(SHARE, [sample(0, 16)], baseline())
    (raised,) = watch().see(point, at_ns=0, now_ns=0)
    assert isinstance(raised, Raise)
    assert "16 of 50" in raised.summary
    assert "beyond a limit" in raised.summary
    assert raised.evidence == (point.id,)
    assert (raised.station, raised.threshold) == ("aoi-1", point.upper)


# --- measurements ----------------------------------------------------------------------------------------------------


def test_the_flow_rates_of_the_handbook_come_out_of_phase_one_as_they_are_printed() -> None:
    chart = msgspec.structs.replace(FLOWS, confidence=0.9973)
    phase_one = flows(MeasuredCharts(plant=measured_plant(chart)), FLOW)
    record = frozen(chart, phase_one, excluded=(), frozen_by="M. Keller", frozen_at_ns=100 * S)
    plant = measured_plant(chart, baselines=(record,))
    inside, outside = flows(MeasuredCharts(plant=plant), (50.0, 56.0), first=200)
    assert inside.centre == pytest.approx(50.81)
    assert (inside.lower, inside.upper) == (pytest.approx(45.8159, abs=2e-4), pytest.approx(55.8041, abs=2e-4))
    assert (inside.outside, outside.outside) == (False, True)
    assert inside.spread is None  # nothing before it to differ from
    assert outside.spread is not None
    assert outside.spread.value == pytest.approx(6.0)


def test_a_subgroup_that_lacks_a_reading_makes_no_point_and_a_duplicate_no_second_one() -> None:
    chart = msgspec.structs.replace(FLOWS, chart="xbar_r", subgroup=2)
    charts = MeasuredCharts(plant=measured_plant(chart))
    taken = [0, 1, 1, 2, 4, 5, 7, 8, 9, 11, 13, 15, 17]
    points = [p for n in taken for p in charts.take(reading(n, 50.0 + n), offset=n)]
    assert [p.values for p in points] == [(50.0, 51.0), (54.0, 55.0), (58.0, 59.0)]
    assert charts.incomplete == 2  # of 1 and 3; those after 5 may still be waited for


def test_what_a_gateway_kept_while_it_was_away_revises_the_points_after_it() -> None:
    chart = msgspec.structs.replace(FLOWS, chart="ewma")
    record = frozen(
        FLOWS,
        flows(MeasuredCharts(plant=measured_plant(FLOWS)), FLOW),
        excluded=(),
        frozen_by="K",
        frozen_at_ns=100 * S,
    )
    charts = MeasuredCharts(plant=measured_plant(chart, baselines=(record,)))
    in_order = MeasuredCharts(plant=measured_plant(chart, baselines=(record,)))

    def last_told(told_by: MeasuredCharts, moments: tuple[int, ...]) -> dict[int, float | None]:
        readings = [reading(0, float(at_s % 7), session=str(at_s), at_s=at_s) for at_s in moments]
        points = [point for offset, each in enumerate(readings) for point in told_by.take(each, offset=offset)]
        return {point.start_at_ns: point.value for point in points}

    assert last_told(charts, (200, 201, 203, 204, 202)) == last_told(in_order, (200, 201, 202, 203, 204))


def test_after_a_restart_readings_of_a_clock_that_is_behind_still_make_points() -> None:
    chart = msgspec.structs.replace(FLOWS, chart="xbar_r", subgroup=2)
    whole = flows(MeasuredCharts(plant=measured_plant(chart)), (50.0, 51.0, 52.0, 53.0))
    again = flows(MeasuredCharts(plant=measured_plant(chart), whole_from_ns=900_000 * S), (50.0, 51.0, 52.0, 53.0))
    assert again == whole


def test_a_chart_of_measurements_stops_no_line_and_one_of_verdicts_is_the_same_signal_as_their_rate() -> None:
    rule = ChartRule(name="control", chart="flow", action="stop_line")
    plant = msgspec.structs.replace(measured_plant(FLOWS), alerts=(rule,))
    assert [place for place, _, _ in rule_findings(plant)] == [("alerts", 0, "action")]
    assert rule.signals == DefectRateRule(name="rate", raise_ratio=0.2, clear_ratio=0.1).signals
