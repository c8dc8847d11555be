"""What a person signs: records with the chart as it stood, points outside their limits, and how often a chart is wrong."""

from __future__ import annotations

from pathlib import Path
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
    sample,
)

from cli.baseline_file import add_baselines
from cli.baseline_points import frozen_of
from cli.chart_notes import chart_notes, told
from processors.chart_baselines import digest, frozen
from processors.chart_lengths import points_between_false_alarms
from processors.chart_points import Sample, plot
from processors.measured_charts import MeasuredCharts
from schemas.alert_rules import ChartRule
from schemas.chart_checks import chart_findings
from schemas.chart_settings import (
    Chart,
    CountedBaseline,
    Defects,
    LeftOut,
    MeasuredBaseline,
    Measurement,
    NotOk,
)
from schemas.charts import ChartPoint
from schemas.errors import ConfigurationError
from schemas.statistics_settings import StatisticsSettings


def test_what_was_signed_is_what_is_drawn_whatever_the_plant_file_says_later() -> None:
    signed = baseline(SHARE)
    (before,) = charted(SHARE, [sample(1, 9)], signed)
    narrow = msgspec.structs.replace(SHARE, confidence=0.9, rules=("nelson",))
    (after,) = charted(narrow, [sample(1, 9)], signed)
    assert after == before
    (anew,) = charted(narrow, [sample(1, 9)], baseline(narrow))
    assert (anew.lower, anew.upper) != (before.lower, before.upper)
    assert anew.id != before.id  # one id, one content


def test_points_under_an_earlier_record_are_told_again_as_they_were() -> None:
    slow = msgspec.structs.replace(SHARE, chart="ewma")
    records = baseline(slow), baseline(SHARE, from_minute=6)
    points = charted(SHARE, [sample(m, 9) for m in range(8)], *records)
    assert [p.kind for p in points] == ["ewma"] * 6 + ["p"] * 2
    alone = charted(slow, [sample(m, 9) for m in range(6)], records[0])
    assert points[:6] == alone


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"confidence": 0.95}, "confidence"),
        ({"rules": ("nelson",)}, "rules"),
        ({"chart": "np"}, "chart"),
        ({"by": "line"}, "by"),
        ({"window_ms": 3_600_000}, "window_ms"),
        ({"figure": Defects(), "chart": "u"}, "figure"),
    ],
)
def test_check_says_where_a_chart_is_not_the_one_that_was_signed(change: dict[str, Any], key: str) -> None:
    chart = msgspec.structs.replace(SHARE, **change)
    plant = measured_plant(chart, baselines=(baseline(SHARE),))
    assert ("statistics", "baselines", 0, "settings", key) in [place for place, _, _ in chart_findings(plant)]
    assert not list(chart_findings(measured_plant(SHARE, baselines=(baseline(SHARE),))))


def test_an_earlier_record_may_have_had_other_limits() -> None:
    wide = msgspec.structs.replace(SHARE, confidence=0.9999)
    records = baseline(wide), baseline(SHARE, from_minute=5)
    assert not list(chart_findings(measured_plant(SHARE, baselines=records)))


@pytest.mark.parametrize(
    ("chart", "key"),
    [
        (Chart(name="flow", figure=Measurement(asset="pump", channel="flow"), chart="i_mr", width_sigma=2.5), "width_sigma"),
        (Chart(name="share", figure=NotOk(), chart="ewma", window_ms=60_000, confidence=0.95), "confidence"),
        (Chart(name="share", figure=NotOk(), chart="p", window_ms=60_000, weight=0.1), "weight"),
        (Chart(name="share", figure=NotOk(), chart="ewma", window_ms=60_000, interval_sigma=4), "interval_sigma"),
    ],
)  # fmt: skip
def test_a_key_that_changes_nothing_on_its_chart_is_refused(chart: Chart, key: str) -> None:
    assert [place for place, _, _ in chart_findings(measured_plant(chart))] == [("statistics", "charts", 0, key)]


def test_nothing_is_frozen_without_a_name_a_cause_or_points() -> None:
    points = charted(SHARE, [sample(m, m % 5) for m in range(30)])
    freeze = {"excluded": (), "frozen_by": "M. Keller", "frozen_at_ns": 60 * MINUTE}
    for wrong in ({"frozen_by": " "}, {"excluded": (LeftOut(start_at_ns=MINUTE, cause=" "),)}):
        with pytest.raises(ValueError, match="expected"):
            frozen(SHARE, points, **{**freeze, **wrong})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected points"):
        frozen(SHARE, [], **freeze)  # type: ignore[arg-type]


def test_points_outside_their_own_limits_are_named_before_anybody_signs() -> None:
    points = charted(SHARE, [sample(m, 22 if m == 7 else 5) for m in range(30)])
    (found,) = frozen_of(SHARE, points, subject=None, excluded=(), frozen_by="K", frozen_at_ns=60 * MINUTE)
    assert isinstance(found.baseline, CountedBaseline)
    assert ([p.start_at_ns // MINUTE for p in found.outside], found.baseline.outside_exact) == ([7], 1)
    assert found.outside[0].upper is not None
    cause = LeftOut(start_at_ns=7 * MINUTE, cause="wrong solder")
    (again,) = frozen_of(SHARE, points, subject=None, excluded=(cause,), frozen_by="K", frozen_at_ns=60 * MINUTE)
    assert again.outside == []


def test_so_are_those_of_measurements_by_their_value_and_by_their_spread() -> None:
    values = [50.0 + n % 3 for n in range(30)]
    values[12] = 70.0
    points = flows(MeasuredCharts(plant=measured_plant(FLOWS)), tuple(values))
    (found,) = frozen_of(FLOWS, points, subject=None, excluded=(), frozen_by="K", frozen_at_ns=100 * S)
    assert isinstance(found.baseline, MeasuredBaseline)
    assert [p.start_at_ns // S for p in found.outside] == [12, 13]  # 13: only its moving range
    assert found.baseline.outside == 2


def test_an_exclusion_that_could_mean_points_of_several_stations_is_refused() -> None:
    points = charted(SHARE, [sample(m, 5) for m in range(30)])
    others = [msgspec.structs.replace(each, subject="station/aoi-2") for each in points]
    cause = LeftOut(start_at_ns=7 * MINUTE, cause="wrong solder")
    freeze: Any = {"excluded": (cause,), "frozen_by": "K", "frozen_at_ns": 60 * MINUTE}
    with pytest.raises(ConfigurationError, match="one of station/aoi-1, station/aoi-2: freeze them one by one"):
        frozen_of(SHARE, [*points, *others], subject=None, **freeze)
    assert len(frozen_of(SHARE, [*points, *others], subject="station/aoi-2", **freeze)) == 1
    with pytest.raises(ConfigurationError, match="expected the begin of a point"):
        frozen_of(SHARE, points, subject=None, **{**freeze, "excluded": (LeftOut(start_at_ns=1, cause="?"),)})


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
        ({"confidence": 0.9973}, 370.4),
        ({"confidence": 0.9973, "rules": ("western_electric",)}, 91.75),
        ({"confidence": 0.9973, "rules": ("two_of_three_beyond_2_sigma",)}, 225.4),
        ({"confidence": 0.9973, "rules": ("nelson",)}, 74),
        ({"chart": "ewma", "width_sigma": 2.962}, 500),
        ({"chart": "cusum", "interval_sigma": 5.0}, 465),
    ],
)
def test_the_points_between_false_alarms_are_the_published_ones(settings: dict[str, Any], points: float) -> None:
    found = points_between_false_alarms(msgspec.structs.replace(SHARE, **settings))
    assert found == pytest.approx(points, rel=0.003)


@pytest.mark.parametrize(
    ("kind", "subgroup", "confidence", "points"),
    [
        ("xbar_s", 5, 0.9973, 1 / (0.0026998 + 0.0038982)),  # three standard deviations, and B4 = 2.089 of the table
        ("xbar_s", 5, 0.95, 1 / (0.025 + 0.0125)),  # half for the means; of the spread only the upper limit's half
        ("i_mr", 1, 0.95, 1 / (0.025 + 0.0125)),
        ("xbar_r", 10, 0.95, 1 / (0.025 + 0.025)),
    ],
)
def test_a_chart_of_measurements_is_wrong_by_its_mean_and_by_its_spread(
    kind: Any, subgroup: int, confidence: float, points: float
) -> None:
    chart = msgspec.structs.replace(FLOWS, chart=kind, subgroup=subgroup, confidence=confidence)
    assert points_between_false_alarms(chart) == pytest.approx(points, rel=2e-3)


@pytest.mark.parametrize("kind", ["p", "ewma", "cusum", "i_mr", "xbar_r", "xbar_s"])
def test_by_default_a_chart_is_wrong_less_than_once_in_a_month_of_hours(kind: Any) -> None:
    one = FLOWS if kind in ("i_mr", "xbar_r", "xbar_s") else SHARE
    for subgroup in (1,) if kind not in ("xbar_r", "xbar_s") else (2, 5, 10, 25):
        found = points_between_false_alarms(msgspec.structs.replace(one, chart=kind, subgroup=subgroup))
        assert found is not None
        assert found > 30 * 24


def test_of_rare_defects_check_says_how_often_the_chart_is_wrong_by_its_own_counts() -> None:
    chart = msgspec.structs.replace(SHARE, confidence=0.9973, rules=("western_electric",))
    rare = msgspec.structs.replace(baseline(chart), rate=0.01, counted=6, looked_at=600.0)  # 0.2 of 20 a point
    found = points_between_false_alarms(chart, rare)
    assert found == pytest.approx(672, rel=0.01)  # 92 of normal values
    settings = StatisticsSettings(charts=(chart,), baselines=(rare,))
    plant: Any = type("Plant", (), {"statistics": settings, "alerts": ()})
    said = told(chart_notes(plant)[0], plant_file=Path("x"))
    assert f"a false alarm every {found:.0f} points" in said
    assert "station/aoi-1 counts 0.2 a point: below 5 it finds little but a rise" in said


@pytest.mark.parametrize("kind", ["ewma", "cusum"])
def test_of_few_bad_parts_check_says_that_the_chart_is_wrong_too_often_and_which_points_would_do(kind: Any) -> None:
    chart = msgspec.structs.replace(SHARE, chart=kind, rules=(), window_ms=3_600_000)
    few = msgspec.structs.replace(
        baseline(chart), points=100, rate=0.01, counted=50, looked_at=5_000.0
    )  # half a bad part a point
    settings = StatisticsSettings(charts=(chart,), baselines=(few,))
    plant: Any = type("Plant", (), {"statistics": settings, "alerts": ()})
    (note,) = chart_notes(plant)
    assert note["wrong_too_often"] == {"subject": "station/aoi-1", "parts": 50, "would_do": 200}
    said = told(note, plant_file=Path("x"))
    assert (
        "wrong more often than once in 30 days, for station/aoi-1 has 50 parts a point: points of about 200 parts"
        in said
    )
    enough = msgspec.structs.replace(few, counted=200, looked_at=20_000.0)
    plant.statistics = StatisticsSettings(charts=(chart,), baselines=(enough,))
    assert chart_notes(plant)[0]["wrong_too_often"] is None


@pytest.mark.parametrize(("kind", "says_so"), [("ewma", True), ("cusum", True), ("p", False)])
def test_every_point_of_few_expected_parts_says_so(kind: Any, says_so: bool) -> None:
    chart = msgspec.structs.replace(SHARE, chart=kind, rules=())
    few = msgspec.structs.replace(baseline(chart), points=100, rate=0.01, counted=50, looked_at=5_000.0)
    quiet, bad = (plot(chart, few, [Sample(0, S, 1, count, 50)]) for count in (0, 9))
    assert quiet.expected_count == bad.expected_count == (0.5 if says_so else None)
    point = ChartPoint(
        id="", chart="share", kind=kind, subject="station/aoi-1", line="line-1", start_at_ns=0, end_at_ns=S, revision=1,
        phase=2, outside=bad.outside, expected_count=bad.expected_count,
    )  # fmt: skip
    assert point.signals
    assert point.few_expected is says_so
    assert ("0.5 expected: wrong more often" in point.why()) is says_so


def test_a_combination_that_was_neither_worked_out_nor_simulated_is_not_guessed() -> None:
    assert points_between_false_alarms(msgspec.structs.replace(SHARE, rules=("six_rising_or_falling",))) is None


def test_check_says_how_often_a_chart_is_wrong_and_which_rule_raises_nothing_yet() -> None:
    plant = measured_plant(FLOWS)
    plant = msgspec.structs.replace(plant, alerts=(ChartRule(name="control", chart="flow"),))
    (note,) = chart_notes(plant)
    assert note["points_between_false_alarms"] == pytest.approx(1 / 0.00075, rel=0.001)
    said = told(note, plant_file=Path("plants/mine.yaml"))
    assert "a false alarm every 1333 points; phase I" in said
    assert (
        "raises nothing until one is: `linesight baselines freeze --chart flow --from TIME --to TIME --by NAME --plant plants/mine.yaml`"
        in said
    )
    record = frozen(FLOWS, flows(MeasuredCharts(plant=plant), FLOW), excluded=(), frozen_by="K", frozen_at_ns=100 * S)
    frozen_plant = msgspec.structs.replace(plant, statistics=measured_plant(FLOWS, baselines=(record,)).statistics)
    assert told(chart_notes(frozen_plant)[0], plant_file=Path("x")).endswith("phase II for asset/pump/flow")
