"""What a sheet says beyond counts: when a rate changed and what else did, how capable a channel is, the plant file's charts."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from cli.quality_html import write_quality_html
from cli.report_source import Source
from processors.period_report import Period, period_report
from processors.report_capability import capabilities
from processors.report_labels import labelled
from schemas.alerts import Alert, AlertState
from schemas.chart_settings import Chart, PictureMeasurement
from schemas.charts import ChartPoint
from schemas.inspections import Defect
from schemas.plant import Asset, Camera, Channel, ExternalSource, Line, Plant, Station
from schemas.reasons import FailSafe, VerdictValue
from schemas.sensors import SensorReading
from schemas.specification import Specification
from schemas.statistics_settings import Shift, StatisticsSettings
from schemas.verdicts import Verdict, ViewResult, verdict_id

S = 1_000_000_000
HOUR_S = 3_600
CAMERA = Camera(name="top", views=("top",), source=ExternalSource())
PLANT = Plant(
    plant="works",
    lines=(Line(name="line-1", stations=(Station(name="cut", cameras=(CAMERA,)),)),),
    recipes=(),
    assets=(
        Asset(
            name="pump",
            line="line-1",
            channels=(
                Channel(name="flow", unit="l/s", specification=Specification(low=47.0, high=53.0)),
                Channel(name="heat", unit="Cel"),
            ),
        ),
    ),
    statistics=StatisticsSettings(
        windows_ms=(60_000,),
        shifts=(Shift(name="early", begins="00:00", ends="12:00"), Shift(name="late", begins="12:00", ends="00:00")),
    ),
)


def verdict(number: int, at_s: float, *, bad: bool, tool: str = "T1") -> Verdict:
    defects = (Defect(class_name="open", score=0.9, box=(0, 0, 4, 4), area_px=9.0),) * bad
    return Verdict(
        id=verdict_id(station="cut", part_id=str(number), visit=1, revision=1), station="cut", line="line-1",
        part_id=str(number), visit=1, revision=1, verdict=VerdictValue.NOT_OK if bad else VerdictValue.OK,
        action=FailSafe.REJECT, arrived_at_ns=int(at_s * S), decided_at_ns=int(at_s * S), recipe="board@1",
        labels={"tool": tool}, views=(ViewResult(view="top", camera="top", outcome="inspected", defects=defects),),
    )  # fmt: skip


def test_a_change_of_the_rate_is_dated_and_the_tool_that_was_changed_then_is_named() -> None:
    verdicts = [
        verdict(n, n * 6.0, bad=n % 25 == 0 or (n >= 300 and n % 4 == 0), tool="T1" if n < 300 else "T2")
        for n in range(600)
    ]
    report = period_report(
        plant=PLANT, period=Period(0, HOUR_S * S), verdicts=reversed(verdicts), states={}, size=lambda *_: None
    )
    (found,) = report.changes
    assert found.likely
    assert found.change.earliest_ns <= 1_800 * S <= found.change.latest_ns
    assert [event.what for event in found.then] == ["tool: T1 -> T2"]


def test_a_steady_rate_has_no_likely_change() -> None:
    rng = np.random.default_rng(5)
    verdicts = [verdict(n, n * 6.0, bad=bool(rng.random() < 0.1)) for n in range(600)]
    report = period_report(
        plant=PLANT, period=Period(0, HOUR_S * S), verdicts=verdicts, states={}, size=lambda *_: None
    )
    assert [found.likely for found in report.changes] == [False]


def test_parts_are_told_apart_by_shift_and_camera_too() -> None:
    parts = list(labelled([verdict(1, 3 * HOUR_S, bad=True), verdict(2, 13 * HOUR_S, bad=False)], PLANT.statistics))
    assert [(part.bad, dict(part.labels)) for part in parts] == [
        (True, {"recipe": "board@1", "shift": "early", "tool": "T1"}),
        (True, {"camera": "top"}),
        (False, {"recipe": "board@1", "shift": "late", "tool": "T1"}),
        (False, {"camera": "top"}),
    ]


def reading(sequence: int, value: float, channel: str = "flow") -> SensorReading:
    return SensorReading(
        id=f"pump/{channel}/s/{sequence}", asset="pump", channel=channel, session="s", sequence=sequence,
        measured_at_ns=sequence * S, unit="l/s", value=value,
    )  # fmt: skip


def test_capability_is_of_readings_that_follow_each_other_each_once_in_any_order() -> None:
    values = np.random.default_rng(3).normal(50, 1, 500)
    readings = [reading(n, float(value)) for n, value in enumerate(values) if n not in (7, 10)]
    (flow,) = capabilities(PLANT, [*reversed(readings), *readings[:50], reading(1, 99.0, channel="heat")])
    assert flow.found is not None
    assert (flow.readings, flow.left_out, flow.found.values) == (
        498,
        8,
        490,
    )  # left out: 5 and 6, 8 and 9, and the last four
    assert flow.found.within.nearest.value == pytest.approx(1.0, abs=0.1)
    assert (flow.found.within.nearest.lower, flow.found.within.nearest.upper) == (
        pytest.approx(0.93, abs=0.1),
        pytest.approx(1.07, abs=0.1),
    )


def test_capability_of_what_inspections_measured_is_of_the_newest_verdict_of_each_part_by_arrival() -> None:
    figure = PictureMeasurement(measure="area_px", specification=Specification(low=47.0, high=53.0))
    plant = msgspec.structs.replace(
        PLANT,
        statistics=StatisticsSettings(charts=(Chart(name="size", figure=figure, chart="i_mr", window_ms=60_000),)),
    )
    # a slow drift: parts that follow each other are alike, those of one subgroup by another order are not
    sizes = np.linspace(48, 52, 203) + np.random.default_rng(3).normal(0, 0.25, 203)
    first, reviewed = [], []
    for number, size in enumerate(sizes):
        each = verdict(number, number, bad=True)
        found = Defect(class_name="open", score=0.9, box=(0, 0, 4, 4), area_px=float(size))
        first.append(each)
        view = msgspec.structs.replace(each.views[0], defects=(found,))
        reviewed.append(msgspec.structs.replace(each, revision=2, id=f"{each.id}/2", views=(view,)))
    unmeasured = verdict(999, 999, bad=False)
    report = period_report(
        plant=plant,
        period=Period(0, HOUR_S * S),
        verdicts=[*reversed(reviewed), *first, unmeasured],
        states={},
        size=lambda *_: None,
    )
    *_, size_of_opens = report.capabilities
    assert size_of_opens[:3] == ("cut", "size", "px")
    assert (size_of_opens.readings, size_of_opens.left_out) == (203, 3)
    assert size_of_opens.found is not None
    within, overall = size_of_opens.found.within.spread, size_of_opens.found.overall.spread
    assert within is not None
    assert overall is not None
    assert within.value == pytest.approx(4.0, rel=0.1)
    assert overall.value < 1


@pytest.mark.parametrize(
    ("readings", "why"),
    [
        ([], "fewer than two subgroups"),
        ([reading(n, 50.0) for n in range(20)], "expected values that differ"),
        (None, "not kept any more"),
    ],
)
def test_where_capability_cannot_be_said_the_sheet_says_why(readings: list[SensorReading] | None, why: str) -> None:
    (flow,) = capabilities(PLANT, readings)
    assert flow.found is None
    assert why in flow.why


def point(minute: int, value: float | None, *, revision: int = 1, phase: int = 2) -> ChartPoint:
    limits = {"centre": 0.1, "lower": 0.0, "upper": 0.3} if phase == 2 else {}
    return ChartPoint(
        id=f"share/{minute}/{revision}", chart="share", kind="p", subject="station/<cut>", line="line-1",
        start_at_ns=minute * 60 * S, end_at_ns=(minute + 1) * 60 * S, revision=revision, phase=phase, value=value,
        outside=phase == 2 and value is not None and value > 0.3, count=1, size=10, baseline="4711" * (phase - 1),
        frozen_by="M. Keller" * (phase - 1), **limits,
    )  # fmt: skip


def test_the_sheet_draws_the_newest_revision_of_each_point_with_its_baseline_and_signals(tmp_path: Path) -> None:
    points = [point(0, 0.1), point(1, 0.1), point(1, 0.4, revision=5), point(2, 0.2), point(3, None)]
    report = period_report(
        plant=PLANT, period=Period(0, HOUR_S * S), verdicts=[], states={}, size=lambda *_: None, points=points
    )
    (charted,) = report.charts
    assert (charted.all_points, charted.signals, [each.value for each in charted.points]) == (3, 1, [0.1, 0.4, 0.2])
    file = tmp_path / "sheet.html"
    write_quality_html(file, plant=PLANT, report=report, source=Source(points=points))
    text = file.read_text(encoding="utf-8")
    assert "Phase II, frozen by M. Keller, record <code>4711</code>" in text
    assert "station/&lt;cut&gt;" in text
    assert "<cut>" not in text
    assert "beyond a limit" in text
    assert "fewer than two subgroups" in text


def test_the_sheet_is_one_file_that_fetches_nothing_and_has_every_part_that_is_signed(tmp_path: Path) -> None:
    near = msgspec.structs.replace(point(2, 0.29), rules=("two_of_three_beyond_2_sigma",))
    points = [point(0, 0.1), point(1, 0.4), near]
    bad = Alert(
        id="e/raised/0", line="line-1", rule="bad-batch", subject="<b>cut</b>", severity="critical",
        state=AlertState.RAISED, episode="e", since_at_ns=60 * S, at_ns=60 * S, summary="{{ 7 * 7 }}",
    )  # fmt: skip
    source = Source(points=points, alerts=[bad], open_alerts=[bad], acknowledged_by={})
    report = period_report(
        plant=PLANT, period=Period(0, HOUR_S * S), verdicts=[], states={}, size=lambda *_: None, points=points
    )
    file = tmp_path / "sheet.html"
    write_quality_html(file, plant=PLANT, report=report, source=source)
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"\b(src|href|action)\s*=|@import|url\(|<(script|link|iframe|img)\b", text)
    told = re.findall(r"<h2>(.*?)</h2>", text)
    for part in (
        "Yield", "Equipment effectiveness", "Defects by class", "Control charts: share of parts not OK",
        "Control charts of the plant file", "Where on the part", "Where the rate differs", "When the rate changed",
        "Alerts", "Open at the end of the period", "Revised verdicts", "Sources",
    ):  # fmt: skip
        assert part in told
    assert text.count('class="ring"') == 1
    assert text.count('class="outside"') == 2
    assert "acknowledged by nobody" in text
    assert "&lt;b&gt;cut&lt;/b&gt;" in text
    assert "{{ 7 * 7 }}" in text
    assert "Signature" in text


def test_a_chart_in_phase_one_is_drawn_without_limits(tmp_path: Path) -> None:
    points = [point(minute, value, phase=1) for minute, value in zip(itertools.count(), (0.1, 0.1), strict=False)]
    report = period_report(
        plant=PLANT, period=Period(0, HOUR_S * S), verdicts=[], states={}, size=lambda *_: None, points=points
    )
    write_quality_html(tmp_path / "sheet.html", plant=PLANT, report=report, source=Source())
    assert "Phase I, no baseline is frozen" in (tmp_path / "sheet.html").read_text(encoding="utf-8")
