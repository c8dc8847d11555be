"""The figures that are signed: newest revisions, yields of a line, marked points, maps, what is open; and which shift is the last."""

from __future__ import annotations

import random
from datetime import datetime
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import msgspec
import pytest

from cli.quality_html import digest_of, plant_digest_of, verdicts_digest_of, write_quality_html
from cli.report_period import moment_ns, period_of_shift
from cli.report_source import Source
from cli.report_states import states_of
from processors.period_report import Period, PeriodReport, period_report
from processors.quality.oee import StateChange, state_times
from processors.spc.run_rules import RunRule
from schemas.errors import ConfigurationError
from schemas.inspections import Defect
from schemas.plant import Camera, ExternalSource, Line, Plant, Station
from schemas.plc_events import LineMode, LineStateChanged, PlcEvent
from schemas.reasons import FailSafe, VerdictValue
from schemas.recipes import DefectClass, GoldenInspection, Recipe, View
from schemas.statistics_settings import PChart, RunRuleName, Shift, StatisticsSettings
from schemas.verdicts import Verdict, ViewResult, verdict_id

S = 1_000_000_000
OK, NOT_OK, UNSURE = VerdictValue.OK, VerdictValue.NOT_OK, VerdictValue.NOT_DECIDABLE
PERIOD = Period(1_000 * S, 4_600 * S)
PLANT = Plant(
    plant="works",
    lines=(
        Line(
            name="line-1",
            stations=tuple(
                Station(
                    name=name,
                    ideal_cycle_ms=10_000 if name == "cut" else None,
                    cameras=(Camera(name=f"{name}-top", views=(f"{name}-top",), source=ExternalSource()),),
                )
                for name in ("cut", "coat")
            ),
        ),
    ),
    recipes=(
        Recipe(
            name="board",
            views=(View(name="cut-top"),),
            inspection=GoldenInspection(),
            classes=(DefectClass(name="open"),),
            opportunities_per_part=4,
        ),
    ),
    statistics=StatisticsSettings(
        windows_ms=(60_000, 3_600_000), p_chart=PChart(baseline_ratio=0.05, run_rules=("two_of_three_beyond_2_sigma",))
    ),
)


def verdict(
    station: str, part: int, value: VerdictValue, *, at_s: float, revision: int = 1, visit: int = 1, by: str = "line"
) -> Verdict:
    defects = (Defect(class_name="open", score=0.9, box=(40, 20, 60, 30), area_px=9.0),) if value is NOT_OK else ()
    return Verdict(
        id=verdict_id(station=station, part_id=str(part), visit=visit, revision=revision),
        station=station,
        line="line-1",
        part_id=str(part),
        visit=visit,
        revision=revision,
        verdict=value,
        action=FailSafe.REJECT,
        arrived_at_ns=int(at_s * S),
        decided_at_ns=int(at_s * S),
        recipe="board@1",
        batch="lot-<1>" if part % 2 else "lot-2",
        views=(ViewResult(view="cut-top", outcome="inspected", defects=defects),),
        decided_by=by,
    )


def report_on(verdicts: list[Verdict], states: dict[str, list[StateChange]] | None = None) -> PeriodReport:
    return period_report(
        plant=PLANT, period=PERIOD, verdicts=verdicts, states=states or {}, size=lambda _recipe, _view: (100, 50)
    )


DAY = [
    *(verdict("cut", n, NOT_OK if n % 10 == 0 else OK, at_s=1_000 + n) for n in range(100)),
    *(verdict("coat", n, UNSURE if n % 20 == 0 else OK, at_s=1_005 + n) for n in range(100)),
    verdict("cut", 10, OK, at_s=1_010, revision=2, by="anna"),
    verdict("cut", 20, OK, at_s=2_000, visit=2),
    verdict("cut", 500, NOT_OK, at_s=999),
    verdict("cut", 501, NOT_OK, at_s=4_600),
]


def test_the_newest_revision_of_what_arrived_in_the_period_counts() -> None:
    report = report_on(DAY)
    cut, coat = report.stations
    assert (cut.counts.parts, cut.counts.ok, cut.counts.not_ok) == (101, 92, 9)
    assert (coat.counts.parts, coat.counts.not_decidable) == (100, 5)
    assert cut.by_unit is not None
    assert (cut.by_unit.first_pass_ratio, cut.by_unit.reworked, cut.by_unit.recovered) == (0.91, 1, 1)
    assert report.rolled_throughput == {"line-1": pytest.approx(0.91 * 0.95)}
    assert cut.defects_per_million == pytest.approx(9 * 1_000_000 / (101 * 4))
    (correction,) = report.corrections
    assert (correction.part_id, correction.before, correction.after, correction.decided_by) == (
        "10",
        "NOT_OK",
        "OK",
        "anna",
    )
    assert [(row.category, row.number) for row in report.pareto] == [("open", 9)]


def test_challenge_parts_are_listed_and_in_no_other_figure() -> None:
    def challenge(part: int, value: VerdictValue) -> Verdict:
        made = verdict("cut", part, value, at_s=1_500 + part)
        return msgspec.structs.replace(made, challenge="open", challenge_passed=value is NOT_OK)

    challenged, plain = report_on([*DAY, challenge(900, NOT_OK), challenge(901, OK)]), report_on(DAY)
    assert challenged.challenges == [("cut", "open", 2, 1)]
    assert plain.challenges == []
    assert (challenged.stations, challenged.pareto, challenged.maps) == (plain.stations, plain.pareto, plain.maps)


def test_order_and_duplicates_change_no_figure() -> None:
    shuffled = [*DAY, *DAY[:50]]
    random.Random(1).shuffle(shuffled)
    assert digest_of(report_on(shuffled)) == digest_of(report_on(DAY))
    assert digest_of(report_on(DAY[1:])) != digest_of(report_on(DAY))


def test_effectiveness_needs_the_cycle_and_says_what_is_not_known() -> None:
    states = {"cut": [StateChange(1_600 * S, LineMode.RUNNING), StateChange(3_100 * S, LineMode.STOPPED)]}
    cut, coat = report_on(DAY, states).stations
    assert (cut.times.running_ns, cut.times.stopped_ns, cut.times.unknown_ns) == (1_500 * S, 1_500 * S, 600 * S)
    assert cut.effectiveness is not None
    assert cut.effectiveness.availability_ratio == 0.5
    # of 101 parts one arrived while the state was known; the others are in no ratio, as their time is in none
    assert (cut.counts.parts, cut.effective_parts) == (101, 1)
    assert cut.effectiveness.performance_ratio == pytest.approx(10 / 1_500)
    assert coat.effectiveness is None
    assert coat.availability_ratio is None


def test_a_line_that_runs_for_days_is_known_to_run_however_long_ago_it_began() -> None:
    day_ns, asked = 24 * 3600 * S, []
    running = LineStateChanged(id="1", station="cut", mode=LineMode.RUNNING, cause="", occurred_at_ns=2 * day_ns)
    stopped = LineStateChanged(
        id="2", station="cut", mode=LineMode.STOPPED, cause="", occurred_at_ns=5 * day_ns + 7 * 3600 * S
    )
    period = Period(5 * day_ns, 5 * day_ns + 8 * 3600 * S)

    def read(back_ms: int) -> list[PlcEvent]:
        asked.append(back_ms)
        return [each for each in (running, stopped) if each.occurred_at_ns >= period.from_ns - back_ms * 1_000_000]

    states = states_of(read, stations=["cut"], period=period)["cut"]
    times = state_times(states, from_ns=period.from_ns, to_ns=period.to_ns)
    assert (times.running_ns, times.stopped_ns, times.unknown_ns) == (7 * 3600 * S, 3600 * S, 0)
    assert len(asked) == 2
    states_of(read, stations=["cut", "coat"], period=period)  # of coat nothing was ever told
    assert len(asked) == 5


def test_the_digest_of_verdicts_stays_when_line_states_are_gone() -> None:
    states = {"cut": [StateChange(900 * S, LineMode.RUNNING)]}
    known, gone = report_on(DAY, states), report_on(DAY)
    assert digest_of(known) != digest_of(gone)
    assert verdicts_digest_of(known) == verdicts_digest_of(gone)
    assert verdicts_digest_of(report_on(DAY[1:])) != verdicts_digest_of(gone)


def test_the_digest_of_the_plant_file_is_that_of_what_figures_depend_on() -> None:
    other = msgspec.structs.replace(PLANT, statistics=StatisticsSettings(windows_ms=(60_000,)))
    assert plant_digest_of(other) != plant_digest_of(PLANT)
    assert plant_digest_of(msgspec.structs.replace(PLANT, plant="elsewhere")) == plant_digest_of(PLANT)


def test_what_is_not_kept_any_more_is_said_and_not_taken_for_nothing(tmp_path: Path) -> None:
    topics = {"plc-events", "alerts", "alert-responses", "commands", "command-results", "charts"}
    write_quality_html(tmp_path / "q.html", plant=PLANT, report=report_on(DAY), source=Source(not_kept=topics))
    text = (tmp_path / "q.html").read_text(encoding="utf-8")
    for topic in ("plc-events", "alerts", "charts"):
        assert f"Not kept any more: topic {topic}" in text
    assert "Topic commands is not kept any more for the whole period: what was open cannot be said" in text
    assert "<li>Nothing.</li>" not in text
    assert verdicts_digest_of(report_on(DAY)) in text
    assert plant_digest_of(PLANT) in text


def test_points_beyond_a_limit_and_run_rules_are_marked() -> None:
    bad = {3: 12, 7: 6, 8: 6}
    verdicts = [
        verdict("cut", minute * 100 + n, NOT_OK if n < bad.get(minute, 1) else OK, at_s=1_020 + minute * 60 + n / 2)
        for minute in range(12)
        for n in range(40)
    ]
    points = report_on(verdicts).stations[0].points
    assert [point.outside for point in points] == [minute == 3 for minute in range(12)]
    assert [bool(point.rules) for point in points] == [minute == 8 for minute in range(12)]


def test_a_place_where_defects_crowd_is_on_the_map() -> None:
    (found,) = report_on(DAY).maps
    assert sum(map(sum, found.cells)) == 9
    assert found.crowd is not None
    assert found.crowd.left_ratio <= 0.5 <= found.crowd.right_ratio
    assert found.crowd.p_value == 0.001


def test_a_period_without_parts_has_no_ratios_and_can_be_written(tmp_path: Path) -> None:
    report = report_on([])
    assert all(each.counts.parts == 0 and each.by_unit is None for each in report.stations)
    assert report.rolled_throughput == {"line-1": None}
    write_quality_html(tmp_path / "q.html", plant=PLANT, report=report, source=Source())
    assert "no decided part" in (tmp_path / "q.html").read_text(encoding="utf-8")


def test_the_sheet_is_one_file_says_that_the_baseline_is_provisional_and_escapes_names(tmp_path: Path) -> None:
    write_quality_html(tmp_path / "q.html", plant=PLANT, report=report_on(DAY), source=Source())
    text = (tmp_path / "q.html").read_text(encoding="utf-8")
    assert "frozen by nobody" in text
    assert "lot-&lt;1&gt;" in text
    assert "<1>" not in text
    assert "src=" not in text
    assert "http" not in text.replace("http://www.w3.org", "")
    assert digest_of(report_on(DAY)) in text


EARLY = Shift(name="early", begins="06:00", ends="14:00")
NIGHT = Shift(name="night", begins="22:00", ends="06:00", days=("friday",))


@pytest.mark.parametrize(
    ("shift", "now", "begin"),
    [
        ("last", "2026-11-28T05:00", "2026-11-27T06:00"),  # the night that runs is not over
        ("last", "2026-11-28T06:00", "2026-11-27T22:00"),
        ("early", "2026-11-28T13:59", "2026-11-27T06:00"),
        ("night", "2026-11-26T12:00", "2026-11-20T22:00"),
    ],
)
def test_the_last_shift_is_the_last_that_is_over(shift: str, now: str, begin: str) -> None:
    zone = ZoneInfo("Europe/Berlin")
    plant = Plant(
        plant="works",
        lines=(),
        recipes=(),
        statistics=StatisticsSettings(shifts=(EARLY, NIGHT), time_zone="Europe/Berlin"),
    )
    now_ns = int(datetime.fromisoformat(now).replace(tzinfo=zone).timestamp()) * S
    assert period_of_shift(plant, shift, now_ns=now_ns).from_ns == moment_ns(begin, plant, option="--from")


def test_a_shift_that_is_not_in_the_plant_file_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match=r"statistics\.shifts"):
        period_of_shift(PLANT, "last", now_ns=0)


def test_a_plant_file_may_name_every_run_rule_and_no_other() -> None:
    assert set(get_args(RunRuleName)) == {rule.value for rule in RunRule}
