"""Interlocks on the wire: a real OPC UA server, a real broker, and what becomes of commands that must not be written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from broker import publish, read_to_end, read_until, until
from plant_floor import STATION, Floor, counted, floor_plant, make_topics, running

from gateways import plc_gateway
from schemas.commands import Command, CommandResult
from schemas.interlocks import Interlocks, Setpoint
from schemas.plant import Plant
from schemas.plc_events import PlcFault
from schemas.reasons import CommandKind, CommandOutcome, FailSafe, VerdictValue
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT, COMMAND_RESULTS, COMMANDS, PLC_EVENTS

INTERLOCKS = Interlocks(
    speed=Setpoint(node="s={station}.Line.Speed", low=10, high=60, max_step=20), dry_run=("reject",)
)


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    return KafkaSettings()


def command(name: str, kind: CommandKind, **fields: Any) -> Command:
    now_ns = time.time_ns()
    return Command(
        id=name, station=STATION, kind=kind, issued_at_ns=now_ns, valid_until_ns=now_ns + 30_000_000_000,
        reason_code="because", **fields,
    )  # fmt: skip


def verdict(part_id: str) -> Command:
    return command(
        f"verdict/{part_id}", CommandKind.VERDICT, part_id=part_id, visit=1, verdict=VerdictValue.NOT_OK,
        action=FailSafe.REJECT,
    )  # fmt: skip


class Asked:
    """Sends commands and waits for their results."""

    def __init__(self, settings: KafkaSettings, plant: Plant) -> None:
        self._settings = settings
        self._plant = plant
        self._sent = 0

    async def __call__(self, *commands: Command) -> list[CommandResult]:
        await publish(self._settings, self._plant, COMMANDS, [(item.station, item) for item in commands])
        self._sent += len(commands)
        found = {item.id: item for item in await read_until(self._settings, self._plant, COMMAND_RESULTS, self._sent)}
        return [found[item.id] for item in commands]


async def test_commands_stay_within_their_interlocks_and_every_one_is_told_and_audited(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor(interlocks=INTERLOCKS) as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc, interlocks=INTERLOCKS)
        await make_topics(plant, settings)
        ask = Asked(settings, plant)
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path) as stage:
            await floor.arrive("p1")
            faster, too_fast, jump, dry, first_stop, second_stop = await ask(
                command("speed/1", CommandKind.SPEED, value=25.0),
                command("speed/2", CommandKind.SPEED, value=61.0),
                command("speed/3", CommandKind.SPEED, value=46.0),
                command("reject/1", CommandKind.REJECT, part_id="p1", visit=1),
                command("stop/1", CommandKind.STOP_LINE, signals=("verdicts",)),
                command("stop/2", CommandKind.STOP_LINE, signals=("cameras",)),
            )
            assert floor.value("setpoint ") == 25.0
            assert faster.outcome is CommandOutcome.ACKNOWLEDGED
            assert "outside 10..60" in too_fast.detail
            assert "a step of 21 is more than 20" in jump.detail
            assert dry.outcome is CommandOutcome.DRY_RUN
            assert (first_stop.outcome, second_stop.outcome) == (
                CommandOutcome.INTERLOCKED,
                CommandOutcome.ACKNOWLEDGED,
            )
            assert [item.command_id for item in floor.executed_requests] == ["speed/1", "stop/2"]
            assert counted(stage, "commands_total", outcome="interlocked") == 3

            await ask(
                command("speed/4", CommandKind.SPEED, value=9999.0),
                command("reject/2", CommandKind.REJECT, part_id="p1", visit=1),
                command("stop/3", CommandKind.STOP_LINE, signals=("verdicts",)),
            )
            stands = [floor.value(role) for role in ("command_id", "command_kind", "command_value")]
            assert stands == ["stop/2", "stop_line", 0.0], "nothing of what was refused is in the PLC"

            await floor.set("writes_allowed", False)
            await until(lambda: counted(stage, "writes_allowed", station=STATION) == 0, "the switch is seen")
            beat = floor.value("gateway_heartbeat")
            (forbidden,) = await ask(verdict("p1"))
            assert forbidden.outcome is CommandOutcome.SWITCHED_OFF
            await until(lambda: floor.value("gateway_heartbeat") > beat, "the heartbeat goes on")
            assert floor.value("command_id") == "stop/2"
            await floor.set("writes_allowed", True)
            (allowed,) = await ask(msgspec.structs.replace(verdict("p1"), id="verdict/again"))
            assert allowed.outcome is CommandOutcome.ACKNOWLEDGED
            await until(lambda: counted(stage, "writes_allowed", station=STATION) == 1, "the switch is seen again")
        audited = {event.subject: event.detail for event in await read_to_end(settings, plant, AUDIT)}
        assert audited.keys() == {
            "speed/1", "speed/2", "speed/3", "speed/4", "reject/1", "reject/2", "stop/1", "stop/2", "stop/3",
            "verdict/p1", "verdict/again",
        }  # fmt: skip
        assert audited["speed/1"].startswith(f"speed = 25 to {STATION}: acknowledged")
        assert "verdicts" in audited["stop/1"]
        faults = [event for event in await read_to_end(settings, plant, PLC_EVENTS) if isinstance(event, PlcFault)]
        assert [event.cleared for event in faults if event.code == "writes_forbidden"] == [False, True]


async def test_a_part_that_has_left_gets_no_command_any_more(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor(gate_after_ms=100) as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)
        ask = Asked(settings, plant)
        await floor.arrive("p1")
        await until(lambda: floor.value("departure_count") == 1, "it leaves before a gateway is there")
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path):
            verdict_of_p1, reject = await ask(
                verdict("p1"), command("reject/1", CommandKind.REJECT, part_id="p1", visit=1)
            )
            assert (verdict_of_p1.outcome, verdict_of_p1.sequence) == (CommandOutcome.PART_LEFT, -1)
            assert reject.outcome is CommandOutcome.PART_LEFT
            assert floor.value("command_id") == ""
