"""`linesight report` on a real broker: made twice from the same topics it says the same; a review changes it and is told."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from broker import publish
from kafka import KafkaAdminClient, TopicPartition
from typer.testing import CliRunner

from cli.main import app
from schemas.alerts import Alert, AlertState
from schemas.errors import ConfigurationError
from schemas.notifications import AlertResponse, ResponseKind
from schemas.plant_file import load_plant
from schemas.plc_events import LineMode, LineStateChanged
from schemas.reasons import FailSafe, VerdictValue
from schemas.sensors import SensorReading
from schemas.settings import KafkaSettings
from schemas.topics import ALERT_RESPONSES, ALERTS, COMMAND_RESULTS, COMMANDS, PANES, PLC_EVENTS, SENSORS, VERDICTS
from schemas.verdicts import Verdict, verdict_id
from topologies.topic_admin import ensure_topics

S = 1_000_000_000
PLANT_FILE = """
plant: {name}
lines: [{{ name: line-1, stations: [{{ name: cut, ideal_cycle_ms: 500,
  cameras: [{{ name: top, views: [top], source: {{ type: external }} }}] }}] }}]
recipes: [{{ name: board, views: [{{ name: top }}], inspection: {{ type: golden }}, classes: [{{ name: open }}] }}]
kafka: {{ partitions: 2 }}
"""

ASSET = """
assets: [{ name: pump, line: line-1, channels: [{ name: flow, unit: l/s, specification: { low: 47, high: 53 } }] }]
"""


def verdict(number: int, *, at_ns: int, value: VerdictValue, revision: int = 1) -> tuple[str, Verdict]:
    return "cut", Verdict(
        id=verdict_id(station="cut", part_id=str(number), visit=1, revision=revision),
        station="cut",
        line="line-1",
        part_id=str(number),
        visit=1,
        revision=revision,
        verdict=value,
        action=FailSafe.REJECT,
        arrived_at_ns=at_ns,
        decided_at_ns=at_ns,
        recipe="board@1",
        decided_by="line" if revision == 1 else "anna",
    )


async def test_a_period_of_which_verdicts_are_gone_is_neither_reported_nor_counted_again(
    kafka: str, unique_prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    settings, file = KafkaSettings(), tmp_path / "plant.yaml"
    file.write_text(PLANT_FILE.format(name=unique_prefix), encoding="utf-8")
    plant = load_plant(file)
    await ensure_topics(plant, kafka=settings, topics=(VERDICTS, PANES))
    now_ns = time.time_ns()
    await publish(settings, plant, VERDICTS, [verdict(n, at_ns=now_ns, value=VerdictValue.OK) for n in range(4)])
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:  # as retention does
        admin.delete_records({TopicPartition(VERDICTS.on(unique_prefix), n): -1 for n in range(2)})
    finally:
        admin.close()
    moments = ["--from", _utc(now_ns // S - 60), "--to", _utc(now_ns // S + 1)]
    for verb in (["report", "--out", str(tmp_path / "half.html")], ["replay", "statistics"]):
        result = CliRunner().invoke(app, [*verb, "--plant", str(file), *moments])
        assert isinstance(result.exception, ConfigurationError), result.output
        assert "is not kept on verdicts any more" in str(result.exception)
    assert not (tmp_path / "half.html").exists()


async def test_what_retention_has_removed_is_said_on_the_sheet_and_verdicts_keep_their_digest(
    kafka: str, unique_prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    settings, file = KafkaSettings(), tmp_path / "plant.yaml"
    file.write_text(PLANT_FILE.format(name=unique_prefix) + ASSET, encoding="utf-8")
    plant = load_plant(file)
    topics = (VERDICTS, PLC_EVENTS, ALERTS, ALERT_RESPONSES, COMMANDS, COMMAND_RESULTS, SENSORS)
    await ensure_topics(plant, kafka=settings, topics=topics)
    now_ns = time.time_ns()
    await publish(settings, plant, VERDICTS, [verdict(n, at_ns=now_ns, value=VerdictValue.OK) for n in range(4)])
    state = LineStateChanged(id="s", station="cut", mode=LineMode.RUNNING, cause="", occurred_at_ns=now_ns - 60 * S)
    await publish(settings, plant, PLC_EVENTS, [("cut", state)])
    reading = SensorReading(
        id="r", asset="pump", channel="flow", session="s", sequence=1, measured_at_ns=now_ns, unit="l/s", value=50.0
    )
    await publish(settings, plant, SENSORS, [("pump", reading)])

    def made(name: str) -> dict[str, Any]:
        moments = ["--from", _utc(now_ns // S - 60), "--to", _utc(now_ns // S + 1)]
        out = ["--out", str(tmp_path / name), "--json"]
        result = CliRunner().invoke(app, ["report", "--plant", str(file), *moments, *out])
        assert result.exit_code == 0, result.output
        told: dict[str, Any] = json.loads(result.stdout)
        return told

    whole = made("whole.html")
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:  # as retention does
        cut = {TopicPartition(topic.on(unique_prefix), n): -1 for topic in (SENSORS, PLC_EVENTS) for n in range(2)}
        admin.delete_records(cut)
    finally:
        admin.close()
    later = made("later.html")
    assert (whole["not_kept"], later["not_kept"]) == ([], ["plc-events", "sensors"])
    assert whole["digest"] != later["digest"]
    assert whole["verdicts_digest"] == later["verdicts_digest"]
    text = (tmp_path / "later.html").read_text(encoding="utf-8")
    assert "Not kept any more: topic plc-events" in text
    assert "readings of this period are not kept any more" in text


def _utc(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))


async def test_the_report_can_be_made_again_and_a_review_a_week_later_is_told_in_it(
    kafka: str, unique_prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    settings, file = KafkaSettings(), tmp_path / "plant.yaml"
    file.write_text(PLANT_FILE.format(name=unique_prefix), encoding="utf-8")
    plant = load_plant(file)
    await ensure_topics(
        plant, kafka=settings, topics=(VERDICTS, PLC_EVENTS, ALERTS, ALERT_RESPONSES, COMMANDS, COMMAND_RESULTS)
    )
    now_ns = time.time_ns()
    parts = [
        verdict(n, at_ns=now_ns - 50 * S + n * S // 2, value=VerdictValue.NOT_OK if n % 10 == 0 else VerdictValue.OK)
        for n in range(80)
    ]
    await publish(settings, plant, VERDICTS, [*parts, *parts[:20]])
    state = LineStateChanged(id="s", station="cut", mode=LineMode.RUNNING, cause="", occurred_at_ns=now_ns - 60 * S)
    await publish(settings, plant, PLC_EVENTS, [("cut", state)])
    alert = Alert(
        id="e/raised/1", line="line-1", rule="bad-batch", subject="cut", severity="critical", state=AlertState.RAISED,
        episode="e", since_at_ns=now_ns - 10 * S, at_ns=now_ns - 10 * S, summary="many {{ 7 * 7 }} bad",
    )  # fmt: skip
    await publish(settings, plant, ALERTS, [("line-1", alert)])

    seen = AlertResponse(
        id="anna/acknowledged/e", kind=ResponseKind.ACKNOWLEDGED, by="anna", at_ns=now_ns - 5 * S, rule="bad-batch",
        subject="cut", episode="e",
    )  # fmt: skip
    await publish(settings, plant, ALERT_RESPONSES, [("line-1", seen)])

    def made(name: str) -> dict[str, Any]:
        moments = ["--from", _utc(now_ns // S - 60), "--to", _utc(now_ns // S + 1)]
        out = ["--out", str(tmp_path / name), "--json"]
        result = CliRunner().invoke(app, ["report", "--plant", str(file), *moments, *out])
        assert result.exit_code == 0, result.output
        told: dict[str, Any] = json.loads(result.stdout)
        return told

    first, again = made("first.html"), made("again.html")
    assert first["digest"] == again["digest"]
    (station,) = first["report"]["stations"]
    assert (station["counts"]["parts"], station["counts"]["not_ok"]) == (80, 8)
    assert station["effectiveness"]["availability_ratio"] == 1.0
    text = (tmp_path / "first.html").read_text(encoding="utf-8")
    assert "many {{ 7 * 7 }} bad" in text
    assert f"{unique_prefix}.verdicts" in text
    assert "Alert bad-batch, cut, since" in text
    assert "acknowledged by anna" in text

    review = verdict(10, at_ns=parts[10][1].arrived_at_ns, value=VerdictValue.OK, revision=2)
    await publish(settings, plant, VERDICTS, [review])
    revised = made("revised.html")
    assert revised["digest"] != first["digest"]
    assert revised["report"]["stations"][0]["counts"]["not_ok"] == 7
    assert [(each["before"], each["after"], each["decided_by"]) for each in revised["report"]["corrections"]] == [
        ("NOT_OK", "OK", "anna")
    ]
