"""The PLC gateway against a real OPC UA server and a real broker: the command contract and the events, through every break."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from broker import committed, publish, publish_raw, read_to_end, read_until, until
from plant_floor import STATION, Floor, counted, floor_plant, gateway_process, make_topics, running

from gateways import plc_gateway
from ops.local.kafka import LocalKafka
from schemas.commands import Command, CommandResult
from schemas.plant import Plant
from schemas.plc_events import LineStateChanged, PartArrived, PartLeft, PlcFault, RejectConfirmed
from schemas.reasons import CommandKind, CommandOutcome, FailSafe, RefusalReason, VerdictValue
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT, COMMAND_RESULTS, COMMANDS, DEAD_LETTERS, PLC_EVENTS

SECOND_NS = 1_000_000_000


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    return KafkaSettings()


def verdict(part_id: str, *, station: str = STATION, valid_for_s: float = 30.0, value: str = "NOT_OK") -> Command:
    now_ns = time.time_ns()
    return Command(
        id=f"verdict/{station}/{part_id}/1/1",
        station=station,
        kind=CommandKind.VERDICT,
        issued_at_ns=now_ns,
        valid_until_ns=now_ns + int(valid_for_s * SECOND_NS),
        reason_code="defect",
        part_id=part_id,
        visit=1,
        verdict=VerdictValue(value),
        action=FailSafe.REJECT,
        arrived_at_ns=now_ns,
    )


async def send(settings: KafkaSettings, plant: Plant, *commands: Command) -> None:
    await publish(settings, plant, COMMANDS, [(command.station, command) for command in commands])


async def results(settings: KafkaSettings, plant: Plant, count: int) -> dict[str, CommandResult]:
    found = await read_until(settings, plant, COMMAND_RESULTS, count)
    assert len({result.id for result in found}) == len(found), "one result per command"
    return {result.id: result for result in found}


async def events(settings: KafkaSettings, plant: Plant, kind: type[Any]) -> list[Any]:
    return [event for event in await read_to_end(settings, plant, PLC_EVENTS) if isinstance(event, kind)]


async def test_a_verdict_is_executed_acknowledged_audited_and_committed(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor() as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path):
            await floor.arrive("p1")
            command = verdict("p1")
            await send(settings, plant, command)
            result = (await results(settings, plant, 1))[command.id]
        assert result.outcome is CommandOutcome.ACKNOWLEDGED
        assert (result.sequence, result.attempts, result.part_id) == (1, 1, "p1")
        assert 0 < result.written_at_ns <= result.acknowledged_at_ns <= result.finished_at_ns
        assert [request.command_id for request in floor.executed_requests] == [command.id]
        assert [event.subject for event in await read_to_end(settings, plant, AUDIT)] == [command.id]
        assert await committed(settings, f"{plant.plant}.plc_gateway") == 1
        assert floor.sessions == 0, "the session was closed"


async def test_refusals_of_the_plc_are_results_and_an_expired_command_is_never_written(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor() as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path) as stage:
            await floor.arrive("p1")
            unknown, expired, good = verdict("nobody"), verdict("p0", valid_for_s=-1), verdict("p1")
            again = Command(**{**{f: getattr(good, f) for f in good.__struct_fields__}, "id": "verdict/other"})
            await send(settings, plant, unknown, expired, good, again)
            found = await results(settings, plant, 4)
            await until(lambda: counted(stage, "commands_total", outcome="refused_state") == 1, "results are counted")
            assert counted(stage, "commands_total", outcome="acknowledged") == 1
            assert counted(stage, "commands_total", outcome="expired") == 1
        assert found[unknown.id].outcome is CommandOutcome.REFUSED_UNKNOWN_PART
        assert found[good.id].outcome is CommandOutcome.ACKNOWLEDGED
        assert found[again.id].outcome is CommandOutcome.REFUSED_STATE
        assert found[expired.id].outcome is CommandOutcome.EXPIRED
        assert (found[expired.id].sequence, found[expired.id].attempts) == (-1, 0)
        assert floor.value("command_sequence") == 3, "three writes for four commands"


async def test_a_repeated_command_has_one_result_and_bad_records_become_dead_letters(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor() as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path) as stage:
            await floor.arrive("p1")
            command, elsewhere = verdict("p1"), verdict("p1", station="no-such-station")
            # no mailbox can hold it: tried for as long as it is valid, it would keep the next one from the PLC
            endless = msgspec.structs.replace(verdict("p0", valid_for_s=3600), visit=70_000)
            await publish_raw(
                settings, plant, COMMANDS, [(STATION, b"\x85\xa2", [("schema", b"Command/1")]), (STATION, b"\x80", [])]
            )
            await send(settings, plant, endless, command, command, elsewhere)
            letters = await read_until(settings, plant, DEAD_LETTERS, 4)
            await until(lambda: counted(stage, "noticed_total", what="duplicate") == 1, "the repetition is noticed")
            assert counted(stage, "dropped_total", reason="unknown_station") == 1
        assert {letter.reason for letter in letters} == {
            RefusalReason.TRUNCATED,
            RefusalReason.UNKNOWN_SCHEMA,
            RefusalReason.UNKNOWN_STATION,
            RefusalReason.WRONG_TYPE,
        }
        assert len(await results(settings, plant, 1)) == 1
        assert len(floor.executed_requests) == 1
        assert await committed(settings, f"{plant.plant}.plc_gateway") == 6


async def test_arrivals_that_left_the_ring_while_the_plc_was_out_of_reach_are_told_by_number(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor() as floor:
        floor.programs[STATION].arrivals = deque(maxlen=4)
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)

        async def told(count: int) -> bool:
            return len(await events(settings, plant, PartArrived)) == count

        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path):
            await floor.arrive("p0")
            await until(partial(told, 1), "the first arrival is told")
            await floor.cable.cut()
            for number in range(1, 8):
                await floor.arrive(f"p{number}")
            await floor.cable.plug()
            await until(partial(told, 5), "what is in the ring is told")
        assert [event.part_id for event in await events(settings, plant, PartArrived)] == ["p0", "p4", "p5", "p6", "p7"]
        missed = [event for event in await events(settings, plant, PlcFault) if event.code == "arrivals_missed"]
        assert [(event.detail[:2], event.cleared) for event in missed] == [("3 ", True)]


async def test_observe_writes_nothing_at_all(settings: KafkaSettings, unique_prefix: str, tmp_path: Path) -> None:
    async with Floor(observe=True) as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path):
            await floor.arrive("p1")
            command = verdict("p1")
            await send(settings, plant, command)
            result = (await results(settings, plant, 1))[command.id]
            await read_until(settings, plant, PLC_EVENTS, 1)
        assert result.outcome is CommandOutcome.OBSERVED
        assert result.sequence == -1
        for role in ("gateway_heartbeat", "command_sequence", "command_id", "command_valid_until_ns"):
            assert not floor.value(role)


async def test_with_the_plc_away_commands_wait_for_it_or_expire_and_nothing_stale_is_executed(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor() as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path) as stage:
            for number in range(2):
                await floor.arrive(f"p{number}")
            await read_until(settings, plant, PLC_EVENTS, 3)
            await floor.cable.cut()
            short, long = verdict("p0", valid_for_s=0.5), verdict("p1", valid_for_s=60)
            await send(settings, plant, short, long)
            await until(lambda: not stage.ready, "the stage says that it lost the PLC")
            assert (await results(settings, plant, 1))[short.id].outcome is CommandOutcome.EXPIRED
            await floor.arrive("p2")
            await floor.cable.plug()
            found = await results(settings, plant, 2)
            await until(lambda: stage.ready, "the stage has the PLC again")
            arrived = [event.part_id for event in await events(settings, plant, PartArrived)]
        assert found[long.id].outcome is CommandOutcome.ACKNOWLEDGED
        assert [request.command_id for request in floor.executed_requests] == [long.id]
        faults = [(fault.code, fault.cleared) for fault in await events(settings, plant, PlcFault)]
        # nothing inspects here, so the parts come while TriggerReady is false: an early trigger is told too
        assert [fault for fault in faults if fault[0] == "plc_away"] == [("plc_away", False), ("plc_away", True)]
        assert arrived == ["p0", "p1", "p2"]


async def test_killed_between_execution_and_result_there_is_one_execution_and_one_result(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor() as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)
        await floor.arrive("p1")
        environment = {"KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers}
        async with gateway_process("plc_gateway", plant, folder=tmp_path, environment=environment) as process:
            # the PLC executes and has not answered yet: now
            floor.on_executed = lambda _request: os.kill(process.pid, signal.SIGKILL)
            command = verdict("p1")
            await send(settings, plant, command)
            assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL
            assert await read_to_end(settings, plant, COMMAND_RESULTS) == []
        floor.on_executed = lambda _request: None
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path):
            result = (await results(settings, plant, 1))[command.id]
            after = verdict("p2")
            await floor.arrive("p2")
            await send(settings, plant, after)
            assert (await results(settings, plant, 2))[after.id].outcome is CommandOutcome.ACKNOWLEDGED

            async def both_told() -> bool:
                return len(await events(settings, plant, PartArrived)) >= 2

            await until(both_told, "both arrivals are told")
        assert result.outcome is CommandOutcome.ACKNOWLEDGED
        assert (result.sequence, result.attempts) == (1, 0), "taken from the mailbox, not written again"
        assert [request.command_id for request in floor.executed_requests] == [command.id, after.id]
        arrived = [event.part_id for event in await events(settings, plant, PartArrived)]
        assert arrived == ["p1", "p2"], "arrivals are told once, by two lives of the gateway together"


async def test_a_command_with_a_result_is_not_delivered_again_when_the_commit_was_lost(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor() as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)
        await floor.arrive("p1")
        command, after = verdict("p1"), verdict("p2")
        result = CommandResult(
            id=command.id,
            station=STATION,
            kind=CommandKind.VERDICT,
            outcome=CommandOutcome.ACKNOWLEDGED,
            sequence=7,
            attempts=1,
            finished_at_ns=1,
        )
        await publish(settings, plant, COMMAND_RESULTS, [(STATION, result)])
        await send(settings, plant, command, after)
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path):
            found = await results(settings, plant, 2)
        assert found[command.id].sequence == 7
        assert floor.executed_requests == []


async def test_parts_come_and_go_in_order_through_a_cut_cable(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor(stations=("aoi-1", "aoi-2"), gate_after_ms=300) as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc, stations=("aoi-1", "aoi-2"))
        await make_topics(plant, settings)
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path) as stage:
            for number in range(30):
                if number in (10, 20):
                    await floor.cable.cut()
                for station in floor.programs:
                    await floor.arrive(f"p{number:02}", station=station, batch=f"b{number}")
                if number in (15, 25):
                    await floor.cable.plug()
                    await until(lambda: stage.ready, "the PLC is back")
            await until(lambda: len(floor.departures) == 60, "every part has left by the PLC's own fail-safe")
            await floor.set("line_cause", "e-stop")
            await floor.set("line_mode", "stopped")
            wanted = lambda found: sum(not isinstance(event, PlcFault) for event in found) >= 60 * 3 + 5  # noqa: E731

            async def all_there() -> bool:
                return wanted(await read_to_end(settings, plant, PLC_EVENTS))

            await until(all_there, "60 arrivals, departures and rejects, line states, recipes")
        for station in floor.programs:
            arrived = [event for event in await events(settings, plant, PartArrived) if event.station == station]
            assert [(event.part_id, event.trigger_count) for event in arrived] == [
                (f"p{number:02}", number + 1) for number in range(30)
            ]
            assert arrived[3].batch == "b3"
            assert arrived[3].expected_views == ("top", "side")
            assert arrived[3].plc_session == "plc-session-1"
            left = [event for event in await events(settings, plant, PartLeft) if event.station == station]
            assert [event.part_id for event in left] == [f"p{number:02}" for number in range(30)]
            assert {(event.lane, event.by_fail_safe) for event in left} == {("reject", True)}
        assert len(await events(settings, plant, RejectConfirmed)) == 60
        states = [event for event in await events(settings, plant, LineStateChanged) if event.station == "aoi-1"]
        assert [(state.mode, state.cause) for state in states][-1] == ("stopped", "e-stop")


async def test_what_the_plc_said_before_a_stop_is_told_whole(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor(gate_after_ms=200) as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path) as stage:
            for number in range(40):
                await floor.arrive(f"p{number:02}")
            await until(lambda: counted(stage, "out_total", topic="plc-events") > 45, "the first parts have left")
        left = await events(settings, plant, PartLeft)
        confirmed = await events(settings, plant, RejectConfirmed)
        assert left
        assert [event.part_id for event in confirmed] == [event.part_id for event in left]


async def test_a_plc_whose_heart_stands_still_is_a_fault_until_it_beats_again(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor() as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path):
            await until(lambda: floor.value("gateway_heartbeat") > 3, "the gateway's heart beats in the PLC")
            beating = floor.server._tasks.pop()
            beating.cancel()

            async def faults(count: int) -> bool:
                return len(await events(settings, plant, PlcFault)) >= count

            await until(lambda: faults(1), "the fault is raised")
            floor.server._tasks.append(asyncio.create_task(floor.server._beat()))
            await until(lambda: faults(2), "the fault is cleared")
        found = [(fault.code, fault.cleared) for fault in await events(settings, plant, PlcFault)]
        assert found == [("heartbeat_lost", False), ("heartbeat_lost", True)]


async def test_a_plc_that_is_away_does_not_hold_up_another(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor() as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        away = msgspec.structs.replace(floor.plc, name="plc-2", endpoint="opc.tcp://127.0.0.1:9/")
        (line,) = plant.lines
        second = msgspec.structs.replace(line.stations[0], name="aoi-2", plc="plc-2")
        plant = msgspec.structs.replace(
            plant,
            plcs=(floor.plc, away),
            lines=(msgspec.structs.replace(line, stations=(*line.stations, second)),),
        )
        await make_topics(plant, settings)
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path, ready=False) as stage:
            await until(lambda: floor.sessions == 1, "the one PLC is reached")
            await floor.arrive("p1")
            good, lost = verdict("p1"), verdict("p1", station="aoi-2", valid_for_s=1)
            await send(settings, plant, lost, good)
            assert (await results(settings, plant, 1))[good.id].outcome is CommandOutcome.ACKNOWLEDGED
            assert (await results(settings, plant, 2))[lost.id].outcome is CommandOutcome.EXPIRED
            assert not stage.ready, "and it says that one of its PLCs is not there"


async def test_with_the_broker_away_hearts_beat_on_and_what_happened_is_told_in_order_afterwards(
    mortal_kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch, unique_prefix: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", mortal_kafka.bootstrap_servers)
    settings = KafkaSettings()
    async with Floor(gate_after_ms=500) as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path) as stage:
            await floor.arrive("p00")
            await read_until(settings, plant, PLC_EVENTS, 2)
            mortal_kafka.child.kill()
            for batch in range(5):
                beat = floor.value("gateway_heartbeat")
                for number in range(20 * batch + 1, 20 * batch + 21):
                    await floor.arrive(f"p{number:03}")
                await until(lambda: floor.value("gateway_heartbeat") > beat + 3, "hearts beat on")  # noqa: B023
            await asyncio.to_thread(mortal_kafka.start)
            await until(lambda: stage.ready, "the broker is back")

            async def all_told() -> bool:
                return len(await events(settings, plant, PartLeft)) >= 101

            await until(all_told, "what happened meanwhile is told")
            stop_line = msgspec.structs.replace(
                verdict(""), kind=CommandKind.STOP_LINE, visit=0, verdict=None, signals=("cameras", "verdicts")
            )
            await send(settings, plant, stop_line)
            assert (await results(settings, plant, 1))[stop_line.id].outcome is CommandOutcome.ACKNOWLEDGED
        for kind in (PartArrived, PartLeft):
            told = [event.part_id for event in await events(settings, plant, kind)]
            assert list(dict.fromkeys(told)) == ["p00", *(f"p{number:03}" for number in range(1, 101))]
