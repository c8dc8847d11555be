"""The handshake on a real PLC server and a real broker: TriggerReady, the triggers that go wrong, and what Reset does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from broker import read_to_end, until
from plant_floor import STATION, Floor, floor_plant, make_topics, running

from gateways import plc_gateway
from ops.local.kafka import LocalKafka
from schemas.plant import Plant
from schemas.plc_events import PlcFault
from schemas.reasons import HandshakeCode
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import PLC_EVENTS
from topologies.readiness import ReadinessTeller

STAGES = ("inspect", "judge")


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    return KafkaSettings()


@asynccontextmanager
async def telling(plant: Plant, settings: KafkaSettings, name: str) -> AsyncIterator[Stage]:
    """A stage that says that it can work, and nothing else."""
    stage = Stage(name)
    stage.ready = True
    async with ReadinessTeller(plant=plant, stage=stage, kafka=settings):
        yield stage


async def shows(floor: Floor, ready: bool, code: HandshakeCode) -> None:
    def as_expected() -> bool:
        return (floor.value("trigger_ready"), floor.value("error_code")) == (ready, code)

    await until(as_expected, f"TriggerReady {ready}, {code.name}")


async def faults(settings: KafkaSettings, plant: Plant, code: str) -> list[bool]:
    """Whether each fault of that code was told as over."""
    events = await read_to_end(settings, plant, PLC_EVENTS)
    return [event.cleared for event in events if isinstance(event, PlcFault) and event.code == code]


async def test_trigger_ready_follows_the_stages_and_is_taken_back_when_the_gateway_stops(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor() as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path):
            await shows(floor, False, HandshakeCode.BROKER_AWAY)
            async with telling(plant, settings, "inspect") as inspect:
                await shows(floor, False, HandshakeCode.JUDGE_AWAY)
                async with telling(plant, settings, "judge"):
                    await shows(floor, True, HandshakeCode.NONE)
                    inspect.ready = False
                    await shows(floor, False, HandshakeCode.INSPECT_AWAY)
                    inspect.ready = True
                    await shows(floor, True, HandshakeCode.NONE)
                    await floor.set("recipe", "bumper@1")
                    await shows(floor, False, HandshakeCode.UNKNOWN_RECIPE)
                    await until(lambda: floor.value("error_text") == "bumper@1 is none of board@1", "the text follows")
                    await floor.set("recipe", "board@1")
                    await shows(floor, True, HandshakeCode.NONE)
                await shows(floor, False, HandshakeCode.JUDGE_AWAY)
                async with telling(plant, settings, "judge"):
                    await shows(floor, True, HandshakeCode.NONE)
        assert floor.value("trigger_ready") is False
        assert floor.value("error_code") == HandshakeCode.STARTING


async def test_triggers_that_go_wrong_are_shown_told_and_stay_until_reset(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor() as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)

        async def told(code: str, over: list[bool]) -> bool:
            return await faults(settings, plant, code) == over

        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path):
            await shows(floor, False, HandshakeCode.BROKER_AWAY)
            await floor.arrive("p1")

            async def early() -> bool:
                await floor.arrive("p-early")
                return bool(floor.value("error_code") == HandshakeCode.EARLY_TRIGGER)

            await until(early, "a part that comes although nobody is ready is early")
            await until(partial(told, "early_trigger", [False]), "it is told once")
            async with telling(plant, settings, "inspect"), telling(plant, settings, "judge"):
                await shows(floor, True, HandshakeCode.EARLY_TRIGGER)
                await until(partial(told, "early_trigger", [False, True]), "it is over with TriggerReady")
                await floor.set("reset_count", 1)
                await shows(floor, True, HandshakeCode.NONE)

                floor.programs[STATION]._visits.clear()  # the PLC forgets that the part was there: same id, same visit
                again = await floor.arrive("p1")
                await shows(floor, True, HandshakeCode.DOUBLE_TRIGGER)
                assert f"trigger {again.trigger_count} names p1, visit 1" in floor.value("error_text")
                await until(partial(told, "double_trigger", [True]), "it is told")
                await until(lambda: floor.value("trigger_seen") == again.trigger_count, "the trigger was seen")
                await floor.set("reset_count", 2)
                await shows(floor, True, HandshakeCode.NONE)


async def test_trigger_ready_falls_with_the_broker_and_comes_back_with_it(
    mortal_kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch, unique_prefix: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", mortal_kafka.bootstrap_servers)
    settings = KafkaSettings()
    async with Floor() as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        await make_topics(plant, settings)
        async with (
            telling(plant, settings, "inspect"),
            telling(plant, settings, "judge"),
            running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path),
        ):
            await shows(floor, True, HandshakeCode.NONE)
            mortal_kafka.child.kill()
            await shows(floor, False, HandshakeCode.BROKER_AWAY)
            await asyncio.to_thread(mortal_kafka.start)
            await shows(floor, True, HandshakeCode.NONE)
