"""Charts of the plant file: points, limits, baselines, alerts, and what each costs in false alarms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.baseline_file import add_baselines
from cli.chart_notes import chart_notes, told
from processors.alert_chart import ChartWatch
from processors.alert_episodes import Clear, Raise
from processors.chart_baselines import digest, frozen
from processors.chart_lengths import points_between_false_alarms
from processors.chart_points import Sample
from processors.chart_series import Series, Subject
from processors.measured_charts import MeasuredCharts
from processors.windowed_charts import Reworked, WindowedCharts
from schemas.alert_rules import ChartRule, DefectRateRule
from schemas.chart_settings import AnyBaseline, Chart, CountedBaseline, Defects, LeftOut, Measurement, NotOk
from schemas.charts import ChartPoint
from schemas.errors import ConfigurationError
from schemas.plant import Asset, Channel, Line, Plant
from schemas.rule_checks import rule_findings
from schemas.sensors import SensorReading
from schemas.statistics import PaneCounts, WindowStatistics
from schemas.statistics_settings import StatisticsSettings

S = 1_000_000_000
MINUTE = 60 * S
SHARE = Chart(name="share", figure=NotOk(), chart="p", window_ms=60_000)
SUBJECT = Subject("station/aoi-1", "line-1")

# NIST/SEMATECH e-Handbook 6.3.3.1: defects on 25 wafers; c-bar 16, limits 4 and 28.
WAFERS = (16, 14, 28, 16, 12, 20, 10, 12, 10, 17, 19, 17, 14, 16, 15, 13, 14, 16, 11, 20, 11, 19, 16, 31, 13)


def series(chart: Chart, *baselines: AnyBaseline) -> Series:
    return Series(chart=chart, subject=SUBJECT, length_ns=MINUTE, baselines=baselines)


def sample(minute: int, counted: int, size: int = 50, revision: int = 0) -> Sample:
    return Sample(minute * MINUTE, (minute + 1) * MINUTE, revision or minute + 1, counted, size)


def baseline(chart: str = "share", *, from_minute: int = 0, rate: float = 0.1, sigma_z: float | None = None) -> Any:
    return CountedBaseline(
        chart=chart, subject=SUBJECT.name, points=30, from_ns=0, to_ns=0, data="made up", frozen_by="M. Keller",
        frozen_at_ns=from_minute * MINUTE, applies_from_ns=from_minute * MINUTE, rate=rate, counted=150,
        looked_at=1500, sigma_z=sigma_z,
    )  # fmt: skip


def charted(chart: Chart, samples: list[Sample], *baselines: AnyBaseline) -> list[ChartPoint]:
    found = series(chart, *baselines)
    for each in samples:
        found.put(each)
    return found.due()


def test_the_wafers_of_the_handbook_come_out_of_phase_one_as_they_are_printed() -> None:
    chart = Chart(name="wafers", figure=Defects(), chart="c", window_ms=60_000)
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
    points = charted(chart, [sample(m, 2) for m in range(20)], baseline(), baseline(from_minute=10, rate=0.12))
    met = [p.start_at_ns // MINUTE for p in points if p.rules]
    assert met == [7, 8, 9, 17, 18, 19]
    assert [p.centre for p in points] == [0.1] * 10 + [0.12] * 10
    assert len({p.baseline for p in points}) == 2


def test_a_late_part_revises_its_point_and_those_that_follow_from_it_and_says_what_stood_before() -> None:
    chart = Chart(name="slow", figure=NotOk(), chart="ewma", window_ms=60_000)
    held = series(chart, baseline("slow"))
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
        baseline(sigma_z=1.0 if "laney" in kind else None),
    )
    assert (normal.signals, bad.signals) == (False, True)


def test_laneys_limits_are_those_of_the_baseline() -> None:
    (exact,) = charted(SHARE, [sample(1, 90, 500)], baseline())
    (wide,) = charted(SHARE, [sample(1, 90, 500)], baseline(sigma_z=2.5))
    assert exact.outside
    assert not wide.outside


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


def test_nothing_is_frozen_without_a_name_a_cause_or_points() -> None:
    points = charted(SHARE, [sample(m, m % 5) for m in range(30)])
    freeze = {"excluded": (), "frozen_by": "M. Keller", "frozen_at_ns": 60 * MINUTE}
    for wrong in ({"frozen_by": " "}, {"excluded": (LeftOut(start_at_ns=MINUTE, cause=" "),)}):
        with pytest.raises(ValueError, match="expected"):
            frozen(SHARE, points, **{**freeze, **wrong})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected points"):
        frozen(SHARE, [], **freeze)  # type: ignore[arg-type]


def test_laneys_factor_is_frozen_where_the_chart_asks_for_it() -> None:
    points = charted(SHARE, [sample(m, m % 5) for m in range(30)])
    asked = msgspec.structs.replace(SHARE, chart="p_laney")
    records = [
        frozen(chart, points, excluded=(), frozen_by="M. Keller", frozen_at_ns=60 * MINUTE) for chart in (SHARE, asked)
    ]
    assert [isinstance(r, CountedBaseline) and r.sigma_z is not None for r in records] == [False, True]


def test_a_file_of_baselines_is_added_to_and_read_back_as_it_was(tmp_path: Path) -> None:
    file, first, second = tmp_path / "baselines" / "share.yaml", baseline(), baseline(from_minute=9)
    add_baselines(file, [first])
    before = file.read_text(encoding="utf-8")
    add_baselines(file, [second])
    text = file.read_text(encoding="utf-8")
    assert text.startswith(before)
    assert digest(first) in text
    data = msgspec.yaml.decode(text)
    assert msgspec.convert(data["baselines"], tuple[CountedBaseline, ...]) == (first, second)
    file.write_text("plant: demo\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="expected a file with the one key"):
        add_baselines(file, [second])
    assert file.read_text(encoding="utf-8") == "plant: demo\n"


@pytest.mark.parametrize(
    ("settings", "points"),
    [
        ({}, 370.4),
        ({"rules": ("western_electric",)}, 91.75),
        ({"rules": ("two_of_three_beyond_2_sigma",)}, 225.4),
        ({"rules": ("nelson",)}, 74),
        ({"chart": "ewma"}, 500),
        ({"chart": "cusum"}, 465),
    ],
)
def test_the_points_between_false_alarms_are_the_published_ones(settings: dict[str, Any], points: float) -> None:
    found = points_between_false_alarms(msgspec.structs.replace(SHARE, **settings))
    assert found == pytest.approx(points, rel=0.003)


def test_a_combination_that_was_neither_worked_out_nor_simulated_is_not_guessed() -> None:
    assert points_between_false_alarms(msgspec.structs.replace(SHARE, rules=("six_rising_or_falling",))) is None


# --- alerts ----------------------------------------------------------------------------------------------------------


def watch(clear_after_points: int = 2) -> ChartWatch:
    rule = ChartRule(name="control", chart="share", clear_after_points=clear_after_points)
    plant = Plant(plant="works", lines=(Line(name="line-1", stations=()),), recipes=())
    return ChartWatch(rule, plant=plant, stations=frozenset())


def said(watching: ChartWatch, points: list[ChartPoint]) -> list[tuple[type, int]]:
    found = [each for point in points for each in watching.see(point, at_ns=0, now_ns=0)]
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

# NIST/SEMATECH e-Handbook 6.3.2.2: flow rates; centre 50.81, limits 45.8159 and 55.8041 by the moving range.
FLOW = (49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1)


def measured_plant(*charts: Chart, baselines: tuple[AnyBaseline, ...] = ()) -> Plant:
    channel = Channel(name="flow", unit="l/s", sample_ms=1_000)
    return Plant(
        plant="works",
        lines=(Line(name="line-1", stations=()),),
        recipes=(),
        assets=(Asset(name="pump", line="line-1", channels=(channel,)),),
        statistics=StatisticsSettings(charts=charts, baselines=baselines),
    )


def reading(sequence: int, value: float, *, session: str = "s", at_s: int | None = None) -> SensorReading:
    return SensorReading(
        id=f"pump/flow/{session}/{sequence}", asset="pump", channel="flow", session=session, sequence=sequence,
        measured_at_ns=(sequence if at_s is None else at_s) * S, unit="l/s", value=value,
    )  # fmt: skip


FLOWS = Chart(name="flow", figure=Measurement(asset="pump", channel="flow"), chart="i_mr")


def flows(charts: MeasuredCharts, values: tuple[float, ...], *, first: int = 0) -> list[ChartPoint]:
    found = []
    for number, value in enumerate(values, first):
        found += charts.take(reading(number, value), offset=number)
    return found


def test_the_flow_rates_of_the_handbook_come_out_of_phase_one_as_they_are_printed() -> None:
    phase_one = flows(MeasuredCharts(plant=measured_plant(FLOWS)), FLOW)
    record = frozen(FLOWS, phase_one, excluded=(), frozen_by="M. Keller", frozen_at_ns=100 * S)
    plant = measured_plant(FLOWS, baselines=(record,))
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


def test_check_says_how_often_a_chart_is_wrong_and_which_rule_raises_nothing_yet() -> None:
    plant = measured_plant(FLOWS)
    plant = msgspec.structs.replace(plant, alerts=(ChartRule(name="control", chart="flow"),))
    (note,) = chart_notes(plant)
    assert note["points_between_false_alarms"] == pytest.approx(370.4, rel=0.001)
    said = told(note, plant_file=Path("plants/mine.yaml"))
    assert "a false alarm every 370 points; phase I" in said
    assert (
        "raises nothing until one is: `linesight baselines freeze --chart flow --from TIME --to TIME --by NAME --plant plants/mine.yaml`"
        in said
    )
    record = frozen(FLOWS, flows(MeasuredCharts(plant=plant), FLOW), excluded=(), frozen_by="K", frozen_at_ns=100 * S)
    frozen_plant = msgspec.structs.replace(plant, statistics=measured_plant(FLOWS, baselines=(record,)).statistics)
    assert told(chart_notes(frozen_plant)[0], plant_file=Path("x")).endswith("phase II for asset/pump/flow")


def test_a_chart_of_measurements_stops_no_line_and_one_of_verdicts_is_the_same_signal_as_their_rate() -> None:
    rule = ChartRule(name="control", chart="flow", action="stop_line")
    plant = msgspec.structs.replace(measured_plant(FLOWS), alerts=(rule,))
    assert [place for place, _, _ in rule_findings(plant)] == [("alerts", 0, "action")]
    assert rule.signals == DefectRateRule(name="rate", raise_ratio=0.2, clear_ratio=0.1).signals
