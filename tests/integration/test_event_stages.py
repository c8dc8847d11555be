"""Alerts, webhooks and sensors on a real broker and real HTTP receivers: each alert once, whatever restarts or refuses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from broker import publish, publish_raw, read_to_end, until

from schemas.alert_rules import DefectRateRule, Rule, SensorLimitRule, SilentCameraRule
from schemas.alerts import Alert, AlertState
from schemas.inspections import Inspection
from schemas.plant import Asset, Camera, Channel, ExternalSource, KafkaLayout, Line, Plant, Plc, Station
from schemas.plc_events import PartArrived
from schemas.reasons import CommandKind, FailSafe, FrameOutcome, VerdictValue
from schemas.receivers import Webhook
from schemas.sensors import SensorReading
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import (
    ALERTS,
    AUDIT,
    COMMANDS,
    DEAD_LETTERS,
    INSPECTIONS,
    PLC_EVENTS,
    SENSORS,
    VERDICTS,
)
from schemas.verdicts import Verdict, verdict_id
from topologies import alerts_stage, sensors_stage
from topologies.topic_admin import ensure_topics

S = 1_000_000_000
OK, NOT_OK = VerdictValue.OK, VerdictValue.NOT_OK
RAISED, CLEARED = AlertState.RAISED, AlertState.CLEARED

RATE = DefectRateRule(
    name="rate", raise_ratio=0.3, clear_ratio=0.1, window_ms=60_000, minimum_parts=10, action="stop_line"
)
HOT = SensorLimitRule(name="hot", asset="press", channel="temperature", high=70.0, clear_after_ms=200)


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("LINESIGHT_RUN_DIR", str(tmp_path))
    return KafkaSettings()


@pytest.fixture
def new_plant(settings: KafkaSettings, unique_prefix: str) -> Callable[..., Any]:
    async def made(*rules: Rule, webhooks: Sequence[Webhook] = ()) -> Plant:
        cameras = tuple(Camera(name=name, views=(name,), source=ExternalSource()) for name in ("left", "right"))
        plant = Plant(
            plant=unique_prefix,
            lines=(Line(name="line-1", stations=(Station(name="aoi", cameras=cameras, plc="plc-1"),)),),
            recipes=(),
            plcs=(Plc(name="plc-1", endpoint="opc.tcp://127.0.0.1:4840/", security="none"),),
            assets=(Asset(name="press", line="line-1", channels=(Channel(name="temperature", unit="Cel"),)),),
            alerts=rules,
            webhooks=tuple(webhooks),
            kafka=KafkaLayout(partitions=4),
        )
        topics = (VERDICTS, INSPECTIONS, PLC_EVENTS, SENSORS, ALERTS, COMMANDS, AUDIT, DEAD_LETTERS)
        await ensure_topics(plant, kafka=settings, topics=topics)
        return plant

    return made


@asynccontextmanager
async def running(module: Any, plant: Plant) -> AsyncIterator[Stage]:
    """A stage, ready, until the block ends; then it must stop in time."""
    stop, stage = asyncio.Event(), Stage(module.__name__.removeprefix("topologies.").removesuffix("_stage"))
    task = asyncio.create_task(module.run(plant, plant_dir=Path(), stage=stage, stop=stop))
    try:
        await until(lambda: stage.ready or task.done(), "the stage is ready")
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(task, 12)


def verdicts(values: Sequence[VerdictValue], *, first: int = 0) -> list[tuple[str, Verdict]]:
    now_ns = time.time_ns()
    return [
        (
            "aoi",
            Verdict(
                id=verdict_id(station="aoi", part_id=str(number), visit=1, revision=1),
                station="aoi",
                line="line-1",
                part_id=str(number),
                visit=1,
                revision=1,
                verdict=value,
                action=FailSafe.REJECT,
                arrived_at_ns=now_ns + number,
                decided_at_ns=now_ns + number,
                recipe="board@1",
            ),
        )
        for number, value in enumerate(values, start=first)
    ]


async def alerts_on(settings: KafkaSettings, plant: Plant) -> list[Alert]:
    """All alerts; one id must not be there twice."""
    found = await read_to_end(settings, plant, ALERTS)
    assert len({alert.id for alert in found}) == len(found)
    return found


async def until_states(settings: KafkaSettings, plant: Plant, *states: AlertState) -> list[Alert]:
    found: list[Alert] = []

    async def reached() -> bool:
        found[:] = await alerts_on(settings, plant)
        return [alert.state for alert in found] == list(states)

    await until(reached, f"alerts are {[state.value for state in states]}")
    return found


async def until_taken(stage: Stage, topic: str, count: int) -> None:
    def value(name: str, **labels: str) -> float:
        return stage.registry.get_sample_value(f"linesight_{stage.name}_{name}", labels) or 0.0

    await until(
        lambda: value("in_total", topic=topic) >= count and value("in_progress") == 0, f"{count} {topic} are taken"
    )


async def test_a_defect_rate_stops_the_line_once_whatever_restarts(
    settings: KafkaSettings, new_plant: Callable[..., Any]
) -> None:
    plant = await new_plant(RATE)
    async with running(alerts_stage, plant):
        await publish(settings, plant, VERDICTS, verdicts([OK] * 7 + [NOT_OK] * 3))
        (raised,) = await until_states(settings, plant, RAISED)
    async with running(alerts_stage, plant) as stage:
        await publish(settings, plant, VERDICTS, verdicts([NOT_OK] * 5, first=10))
        await until_taken(stage, "verdicts", 5)
        assert len(await alerts_on(settings, plant)) == 1
    async with running(alerts_stage, plant):
        # the eight bad ones are read back: ninety good ones make a share below a tenth
        await publish(settings, plant, VERDICTS, verdicts([OK] * 90, first=20))
        _, cleared = await until_states(settings, plant, RAISED, CLEARED)
    assert (raised.rule, raised.subject, raised.severity, raised.value) == ("rate", "aoi", "warning", 0.3)
    assert cleared.episode == raised.episode
    (command,) = await read_to_end(settings, plant, COMMANDS)
    assert (command.id, command.kind, command.station) == (f"alert/{raised.episode}", CommandKind.STOP_LINE, "aoi")
    assert command.valid_until_ns - command.issued_at_ns == 10 * S
    (audit,) = await read_to_end(settings, plant, AUDIT)
    assert (audit.actor, audit.action, audit.subject) == ("alerts", "stop_line", "aoi")


async def test_a_camera_that_goes_silent_is_told_and_told_when_it_is_back(
    settings: KafkaSettings, new_plant: Callable[..., Any]
) -> None:
    plant = await new_plant(SilentCameraRule(name="camera", after_ms=1_000))
    arrival = PartArrived(
        id="aoi/1/1/arrived",
        station="aoi",
        part_id="1",
        visit=1,
        recipe="board@1",
        expected_views=("left", "right"),
        trigger_count=1,
        occurred_at_ns=0,
    )

    def seen(camera: str) -> tuple[str, Inspection]:
        return "aoi", Inspection(
            id=f"{camera}/s/1",
            station="aoi",
            camera=camera,
            view=camera,
            session="s",
            sequence=1,
            part_id="1",
            visit=1,
            outcome=FrameOutcome.INSPECTED,
        )

    async with running(alerts_stage, plant):
        await publish(settings, plant, PLC_EVENTS, [("aoi", arrival)])
        await publish(settings, plant, INSPECTIONS, [seen("left")])
        (raised,) = await until_states(settings, plant, RAISED)
        assert (raised.subject, raised.evidence) == ("right", ("aoi/1/1/arrived",))
    async with running(alerts_stage, plant):
        await publish(settings, plant, INSPECTIONS, [seen("right")])
        await until_states(settings, plant, RAISED, CLEARED)


class Receivers:
    """Real HTTP receivers, each with its own way of taking alerts, and what they got."""

    def __init__(self) -> None:
        self.got: dict[str, list[dict[str, Any]]] = {"good": [], "internal": []}
        self.redirected = 0
        self.keys: list[str] = []
        self.port = 0

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}?token=secret"

    async def take(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "redirecting":
            self.redirected += 1
            raise web.HTTPTemporaryRedirect(f"http://127.0.0.1:{self.port}/internal")
        self.got[name].append(msgspec.json.decode(await request.read()))
        self.keys.append(request.headers["Idempotency-Key"])
        return web.Response(status=204)


@pytest.fixture
async def receivers() -> AsyncIterator[Receivers]:
    found = Receivers()
    app = web.Application()
    app.router.add_post("/{name}", found.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    yield found
    await runner.cleanup()


async def test_webhooks_get_each_alert_as_it_is_and_one_that_refuses_delays_nobody(
    settings: KafkaSettings, new_plant: Callable[..., Any], receivers: Receivers
) -> None:
    """Those that hang, drip or fail are in `test_alert_receivers.py`: all are read for by the same code."""
    plant = await new_plant(RATE, webhooks=[Webhook(url=receivers.url(name)) for name in ("redirecting", "good")])
    async with running(alerts_stage, plant) as stage:
        await publish(settings, plant, VERDICTS, verdicts([OK] * 7 + [NOT_OK] * 3))
        await until_states(settings, plant, RAISED)
        await publish(settings, plant, VERDICTS, verdicts([OK] * 90, first=20))
        raised, cleared = await until_states(settings, plant, RAISED, CLEARED)
        await until(lambda: len(receivers.got["good"]) == 2, "the good receiver has both")

        async def two_letters() -> bool:
            return len(await read_to_end(settings, plant, DEAD_LETTERS)) == 2

        await until(two_letters, "what was refused is in the dead letters")
        assert stage.registry.get_sample_value("linesight_alerts_webhooks_total", {"outcome": "delivered"}) == 2
        assert stage.registry.get_sample_value("linesight_alerts_dropped_total", {"reason": "receiver_refused"}) == 2
    assert [alert["state"] for alert in receivers.got["good"]] == ["raised", "cleared"]
    assert receivers.keys == [raised.id, cleared.id]
    assert msgspec.convert(receivers.got["good"][0], Alert) == raised
    assert receivers.got["internal"] == [], "no redirect is followed"
    assert receivers.redirected == 2, "a redirect is not tried again"
    letters = await read_to_end(settings, plant, DEAD_LETTERS)
    assert len({letter.id for letter in letters}) == 2
    assert {(letter.topic, letter.reason) for letter in letters} == {("alerts", "receiver_refused")}
    assert not any("secret" in letter.detail for letter in letters)


async def test_a_receiver_that_was_away_gets_the_alert_after_a_restart_of_the_stage_and_no_old_ones(
    settings: KafkaSettings, new_plant: Callable[..., Any], receivers: Receivers
) -> None:
    plant = await new_plant(RATE, webhooks=[Webhook(url=receivers.url("good"), timeout_ms=1_000, max_tries=2)])
    old = Alert(
        id="old/aoi/1/cleared/0",
        line="line-1",
        rule="old",
        subject="aoi",
        severity="info",
        state=CLEARED,  # of a rule that the plant file does not have: open ones would be ended, and that be told, too
        episode="old/aoi/1",
        since_at_ns=1,
        at_ns=1,
        summary="from before there was a receiver",
    )
    await publish(settings, plant, ALERTS, [("line-1", old)])
    async with running(alerts_stage, plant) as stage:
        await until(lambda: stage.ready, "ready")
        await publish(settings, plant, VERDICTS, verdicts([OK] * 7 + [NOT_OK] * 3))
        await until(lambda: len(receivers.got["good"]) == 1, "the alert is delivered")
    # written while no process ran: delivered by the next one, from the offset that was committed
    new = msgspec.structs.replace(old, id="new/aoi/2/cleared/0", episode="new/aoi/2")
    await publish(settings, plant, ALERTS, [("line-1", new)])
    async with running(alerts_stage, plant):
        await until(lambda: receivers.keys[-1] == new.id, "the alert is delivered")
    assert [alert["rule"] for alert in receivers.got["good"]] == ["rate", "old"]


def readings(values: Sequence[float], *, first: int = 0, asset: str = "press") -> list[tuple[str, SensorReading]]:
    return [
        (
            asset,
            SensorReading(
                id=f"{asset}/temperature/s/{number}",
                asset=asset,
                channel="temperature",
                session="s",
                sequence=number,
                measured_at_ns=time.time_ns(),
                unit="Cel",
                value=value,
            ),
        )
        for number, value in enumerate(values, start=first)
    ]


async def test_a_sensor_outside_its_limits_is_one_alert_cleared_when_it_was_within_for_a_while(
    settings: KafkaSettings, new_plant: Callable[..., Any]
) -> None:
    plant = await new_plant(HOT)
    async with running(sensors_stage, plant):
        await publish(settings, plant, SENSORS, readings([60, 71, 72]))
        (raised,) = await until_states(settings, plant, RAISED)
    assert (raised.subject, raised.value, raised.threshold) == ("press/temperature", 71, 70)
    async with running(sensors_stage, plant) as stage:
        sequence = 3
        await publish(settings, plant, SENSORS, readings([75], first=sequence))
        await until_taken(stage, "sensors", 1)
        assert len(await alerts_on(settings, plant)) == 1

        async def cleared() -> bool:
            nonlocal sequence
            sequence += 1
            await publish(settings, plant, SENSORS, readings([60], first=sequence))
            return len(await alerts_on(settings, plant)) == 2

        await until(cleared, "it is cleared")
    _, last = await alerts_on(settings, plant)
    assert (last.state, last.episode) == (CLEARED, raised.episode)


async def test_readings_that_cannot_be_judged_are_dead_letters_and_duplicates_are_counted(
    settings: KafkaSettings, new_plant: Callable[..., Any]
) -> None:
    plant = await new_plant(HOT)
    twice = readings([60])
    await publish(settings, plant, SENSORS, [*twice, *twice, *readings([20], asset="oven")])
    await publish_raw(settings, plant, SENSORS, [("press", b"\xc1", [("schema", b"SensorReading/1")])])
    async with running(sensors_stage, plant) as stage:
        await until_taken(stage, "sensors", 4)
        assert stage.registry.get_sample_value("linesight_sensors_noticed_total", {"what": "duplicate"}) == 1
    letters = await read_to_end(settings, plant, DEAD_LETTERS)
    assert {letter.reason for letter in letters} == {"unknown_asset", "truncated"}
