"""A rule can be tried on what was recorded before it is let loose on people: it says what it would have said on the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.exits import NotSo
from cli.main import app
from processors.alert_subjects import every_key
from processors.alert_trial import Recorded, TrialResult, tried
from processors.alerting import Alerting
from schemas.alert_rules import AssetWatchRule, DefectRateRule, SensorLimitRule, SilentStationRule
from schemas.errors import ConfigurationError
from schemas.plant import Asset, Camera, Channel, ExternalSource, Line, Plant, Plc, Station, Watch
from schemas.plc_events import PartArrived
from schemas.reasons import FailSafe, VerdictValue
from schemas.sensors import SensorReading
from schemas.verdicts import Verdict

S = 1_000_000_000
BEGIN = 1_700_000_000 * S
OK, NOT_OK = VerdictValue.OK, VerdictValue.NOT_OK

RATE = DefectRateRule(name="rate", raise_ratio=0.3, clear_ratio=0.1, window_ms=20_000, minimum_parts=10)
QUIET = SilentStationRule(name="quiet", after_ms=60_000)
HOT = SensorLimitRule(name="hot", asset="press", channel="temperature", high=70.0)
PLANT = Plant(
    plant="works",
    lines=(
        Line(
            name="line-1",
            stations=(
                Station(
                    name="aoi", cameras=(Camera(name="top", views=("top",), source=ExternalSource()),), plc="plc-1"
                ),
            ),
        ),
    ),
    recipes=(),
    plcs=(Plc(name="plc-1", endpoint="opc.tcp://127.0.0.1:4840", security="none"),),
    assets=(Asset(name="press", line="line-1", channels=(Channel(name="temperature", unit="Cel"),)),),
    alerts=(RATE, QUIET, HOT),
)


def verdicts(values: list[VerdictValue]) -> list[Recorded]:
    return [
        Recorded(
            at_ns=BEGIN + number * S,
            message=Verdict(
                id=f"aoi/{number}/1/1",
                station="aoi",
                line="line-1",
                part_id=str(number),
                visit=1,
                revision=1,
                verdict=value,
                action=FailSafe.REJECT,
                arrived_at_ns=BEGIN + number * S,
                decided_at_ns=BEGIN + number * S,
                recipe="board@1",
            ),
        )
        for number, value in enumerate(values)
    ]


def arrival(at_s: int) -> Recorded:
    arrived = PartArrived(
        id=f"aoi/{at_s}/1/arrived",
        station="aoi",
        part_id=str(at_s),
        visit=1,
        recipe="board@1",
        expected_views=("top",),
        trigger_count=at_s,
        occurred_at_ns=0,
    )
    return Recorded(at_ns=BEGIN + at_s * S, message=arrived)


def reading(at_s: int, value: float, *, asset: str = "press") -> Recorded:
    found = SensorReading(
        id=f"{asset}/{at_s}",
        asset=asset,
        channel="temperature",
        session="s",
        sequence=at_s,
        measured_at_ns=BEGIN + at_s * S,
        unit="Cel",
        value=value,
    )
    return Recorded(at_ns=BEGIN + at_s * S, message=found)


def spans(result: TrialResult) -> list[tuple[float, float | None]]:
    """Of each episode: seconds from the first record until it was raised, and until it was cleared."""
    return [
        ((each.raised.at_ns - BEGIN) / S, (each.cleared.at_ns - BEGIN) / S if each.cleared else None)
        for each in result.episodes
    ]


def test_it_says_when_a_rate_would_have_been_raised_and_cleared() -> None:
    result = tried(RATE, plant=PLANT, records=verdicts([OK] * 20 + [NOT_OK] * 10 + [OK] * 30))
    assert spans(result) == [(25, 48)]
    assert (result.records, result.refused) == (60, 0)


def test_time_passes_between_records_and_after_the_last_one() -> None:
    records = [arrival(0), arrival(300)]
    result = tried(QUIET, plant=PLANT, records=records, until_ns=BEGIN + 1_000 * S)
    assert spans(result) == [(60, 300), (360, None)]
    assert result.episodes[1].repeated == 1


def test_a_sensor_rule_is_tried_on_readings_and_those_of_unknown_sensors_are_counted() -> None:
    records = [reading(0, 60), reading(1, 80), reading(2, 60, asset="lathe"), *(reading(s, 60) for s in range(3, 12))]
    result = tried(HOT, plant=PLANT, records=records)
    assert spans(result) == [(1, 8)]
    assert result.refused == 1


@given(st.lists(st.sampled_from([OK, NOT_OK]), max_size=120))
def test_a_trial_says_what_the_stage_said(values: list[VerdictValue]) -> None:
    live = Alerting(plant=msgspec.structs.replace(PLANT, alerts=(RATE,)), owns=every_key)
    said = [
        step.alert
        for each in verdicts(values)
        for step in live.take(each.message, at_ns=each.at_ns, now_ns=each.at_ns)  # type: ignore[arg-type]
    ]
    found = tried(RATE, plant=PLANT, records=verdicts(values)).episodes
    assert [alert for each in found for alert in (each.raised, each.cleared) if alert] == said


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def plant_file(tmp_path: Path) -> Path:
    path = tmp_path / "plant.yaml"
    path.write_bytes(msgspec.yaml.encode(msgspec.to_builtins(PLANT)))
    return path


def lines(records: list[Recorded]) -> str:
    return "".join(
        json.dumps(
            {"topic": "verdicts", "at_ms": each.at_ns // 1_000_000, "message": msgspec.to_builtins(each.message)}
        )
        + "\n"
        for each in records
    )


def run(plant_file: Path, text: str, *options: str) -> Any:
    recorded = plant_file.with_name("recorded.jsonl")
    recorded.write_text(text)
    asked = ["alerts", "test", "--rule", "rate", "--file", str(recorded), "--plant", str(plant_file), *options]
    return CliRunner().invoke(app, asked)


def test_the_command_tries_a_rule_on_a_file_of_what_tail_printed(plant_file: Path) -> None:
    text = lines(verdicts([OK] * 20 + [NOT_OK] * 10 + [OK] * 30))
    found = json.loads(run(plant_file, text, "--json").stdout)
    assert found["records"] == 60
    (episode,) = found["episodes"]
    assert (episode["raised_at"], episode["open_s"]) == ("2023-11-14T22:13:45.000+00:00", 23.0)
    told = run(plant_file, text)
    assert "rate would have been raised 1 times (60 records" in told.stdout


def test_a_period_is_all_that_counts(plant_file: Path) -> None:
    text = lines(verdicts([OK] * 20 + [NOT_OK] * 10 + [OK] * 30))
    found = json.loads(run(plant_file, text, "--json", "--to", "2023-11-14T22:13:40+00:00").stdout)
    assert (found["records"], found["episodes"]) == (20, [])


def test_nothing_to_test_against_is_not_a_rule_that_is_quiet(plant_file: Path) -> None:
    assert isinstance(run(plant_file, "").exception, NotSo)
    assert isinstance(run(plant_file, '{"topic": "frames", "at_ms": 1, "message": {}}\n').exception, NotSo)


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        '{"topic": "verdicts", "at_ms": 1, "message": {"id": 7}}',
        '{"topic": "verdicts", "message": {}}',
    ],
)
def test_a_line_that_is_no_record_is_named(plant_file: Path, line: str) -> None:
    error = run(plant_file, lines(verdicts([OK])) + line).exception
    assert isinstance(error, ConfigurationError)
    assert "recorded.jsonl:2: expected a line of `linesight tail`" in str(error)


def test_a_rule_that_there_is_not_is_named_with_the_nearest(plant_file: Path) -> None:
    asked = ["alerts", "test", "--rule", "rates", "--from", "2023-11-14", "--plant", str(plant_file)]
    error = CliRunner().invoke(app, asked).exception
    assert isinstance(error, ConfigurationError)
    assert "did you mean rate?" in str(error)


def test_a_watch_that_learns_before_it_judges_is_refused_and_not_said_to_be_quiet(plant_file: Path) -> None:
    press = msgspec.structs.replace(PLANT.assets[0], watch=Watch())
    watched = msgspec.structs.replace(PLANT, assets=(press,), alerts=(AssetWatchRule(name="rate", asset="press"),))
    plant_file.write_bytes(msgspec.yaml.encode(msgspec.to_builtins(watched)))
    error = run(plant_file, lines(verdicts([OK]))).exception
    assert isinstance(error, ConfigurationError)
    assert "`asset_watch` learns before it judges" in str(error)
