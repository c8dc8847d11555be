"""`linesight alerts` on a real broker, and approval through a real PLC gateway to a real OPC UA server."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from broker import publish, read_to_end
from plant_floor import STATION, Floor, floor_plant, make_topics, running
from typer.testing import CliRunner, Result

from cli.exits import NotSo
from cli.main import app
from gateways import plc_gateway
from schemas.alert_rules import DefectRateRule
from schemas.alerts import Alert, AlertState
from schemas.errors import ConfigurationError
from schemas.interlocks import Interlocks
from schemas.plant import Plant
from schemas.reasons import CommandKind, CommandOutcome
from schemas.settings import KafkaSettings
from schemas.topics import ALERT_RESPONSES, ALERTS, AUDIT, COMMAND_RESULTS, COMMANDS, VERDICTS
from schemas.verdicts import Verdict

STOP = DefectRateRule(name="rate", raise_ratio=0.3, clear_ratio=0.1, action="stop_line", approval="required")


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    return KafkaSettings()


async def made(plant: Plant, settings: KafkaSettings, folder: Path) -> tuple[Plant, Path]:
    plant = msgspec.structs.replace(plant, alerts=(STOP,), recipes=())
    await make_topics(plant, settings)
    file = folder / "plant.yaml"
    file.write_bytes(msgspec.yaml.encode(msgspec.to_builtins(plant)))
    return plant, file


def raised(subject: str = STATION, *, summary: str = "31 % NOT_OK", approval: str = "required") -> tuple[str, Alert]:
    episode = f"rate/{subject}/1"
    return "line-1", Alert(
        id=f"{episode}/raised/0",
        line="line-1",
        rule="rate",
        subject=subject,
        severity="critical",
        state=AlertState.RAISED,
        episode=episode,
        since_at_ns=1,
        at_ns=time.time_ns(),
        summary=summary,
        action="stop_line",
        approval=approval,
        station=STATION,
    )


async def linesight(file: Path, *words: str) -> Result:
    asked = ["alerts", *words, "--plant", str(file)]
    return await asyncio.to_thread(CliRunner().invoke, app, asked)


async def listed(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await linesight(file, "list", "--json")).stdout)
    return found


async def test_people_acknowledge_and_silence_and_every_word_is_audited(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor() as floor:
        plant, file = await made(floor_plant(unique_prefix, plc=floor.plc), settings, tmp_path)
    await publish(settings, plant, ALERTS, [raised(), raised("press", summary="hot\r\n\x1b[2Jnothing open")])

    (first, _) = (await listed(file))["open"]
    assert (first["key"], first["acknowledged_by"], first["waits_for_approval"]) == (f"rate/{STATION}", None, True)
    text = (await linesight(file, "list")).stdout
    assert "hot\\r\\n\\x1b[2Jnothing open" in text, "what a PLC says is data, to the terminal too"
    assert "\x1b" not in text

    assert (await linesight(file, "acknowledge", f"rate/{STATION}", "--by", "keller")).exit_code == 0
    silenced = await linesight(file, "silence", "rate", "--minutes", "5", "--reason", "retooling", "--by", "keller")
    assert silenced.exit_code == 0
    found = await listed(file)
    assert [row["acknowledged_by"] for row in found["open"]] == ["keller", None]
    assert all(row["silenced_until"] for row in found["open"])
    assert (found["silences"][0]["by"], found["silences"][0]["reason"]) == ("keller", "retooling")
    await linesight(file, "unsilence", "rate", "--by", "keller")
    assert (await listed(file))["silences"] == []

    assert isinstance((await linesight(file, "acknowledge", "rate/elsewhere")).exception, NotSo)
    wrong = (await linesight(file, "silence", "rates", "--minutes", "5", "--reason", "x")).exception
    assert isinstance(wrong, ConfigurationError)
    assert "did you mean rate?" in str(wrong)
    assert len(await read_to_end(settings, plant, ALERT_RESPONSES)) == 3
    audited = [(event.actor, event.action, event.subject) for event in await read_to_end(settings, plant, AUDIT)]
    assert audited == [
        ("keller", "alert_acknowledged", raised()[1].episode),
        ("keller", "alert_silenced", "rate/"),
        ("keller", "alert_unsilenced", "rate/"),
    ]


async def test_an_approved_action_is_carried_out_by_the_machine_once_and_not_without_approval(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor(interlocks=Interlocks()) as floor:
        plant, file = await made(floor_plant(unique_prefix, plc=floor.plc, interlocks=Interlocks()), settings, tmp_path)
        await publish(settings, plant, ALERTS, [raised(), raised("free", approval="")])
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path):
            approved = await linesight(file, "approve", f"rate/{STATION}", "--by", "keller")
            assert approved.exit_code == 0, approved.output
            assert f"stop_line at {STATION}: acknowledged" in approved.stdout
            again = await linesight(file, "approve", f"rate/{STATION}", "--by", "maier")
            assert isinstance(again.exception, NotSo)
            assert "was approved by keller" in str(again.exception)
            nothing = await linesight(file, "approve", "rate/free")
            assert isinstance(nothing.exception, NotSo)
        (command,) = await read_to_end(settings, plant, COMMANDS)
        assert command.id.startswith(f"alert/{raised()[1].episode}/")
        assert [item.command_id for item in floor.executed_requests] == [command.id]
    assert (command.kind, command.signals) == (CommandKind.STOP_LINE, ("verdicts", "a person"))
    (result,) = await read_to_end(settings, plant, COMMAND_RESULTS)
    assert result.outcome is CommandOutcome.ACKNOWLEDGED
    assert "alert_approved" in {event.action for event in await read_to_end(settings, plant, AUDIT)}


async def test_a_rule_is_tried_on_the_topics_of_a_period(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    from schemas.reasons import FailSafe, VerdictValue

    async with Floor() as floor:
        plant, file = await made(floor_plant(unique_prefix, plc=floor.plc), settings, tmp_path)
    now_ns = time.time_ns()
    judged = [
        Verdict(
            id=f"{STATION}/{number}/1/1",
            station=STATION,
            line="line-1",
            part_id=str(number),
            visit=1,
            revision=1,
            verdict=VerdictValue.NOT_OK,
            action=FailSafe.REJECT,
            arrived_at_ns=now_ns + number,
            decided_at_ns=now_ns + number,
            recipe="board@1",
        )
        for number in range(30)
    ]
    await publish(settings, plant, VERDICTS, [(STATION, each) for each in judged])
    tried = await linesight(file, "test", "--rule", "rate", "--from", "2020-01-01T00:00", "--json")
    found = json.loads(tried.stdout)
    assert (found["records"], [each["subject"] for each in found["episodes"]]) == (30, [STATION])
    assert found["episodes"][0]["cleared_at"] is None
    before = await linesight(file, "test", "--rule", "rate", "--from", "2020-01-01", "--to", "2020-01-02")
    assert isinstance(before.exception, NotSo)
    assert await read_to_end(settings, plant, ALERTS) == [], "nothing is sent"
