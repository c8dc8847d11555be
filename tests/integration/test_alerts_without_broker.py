"""A broker that dies and returns: that is told, not that the line was silent; and who really is silent afterwards is told."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from broker import publish, read_to_end, until

from ops.local.kafka import LocalKafka
from schemas.alert_rules import BrokerAwayRule, SilentStationRule
from schemas.alerts import AlertState
from schemas.plant import KafkaLayout, Line, Plant, Plc, Station
from schemas.plc_events import PartArrived
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import ALERTS, AUDIT, COMMANDS, DEAD_LETTERS, INSPECTIONS, PLC_EVENTS, VERDICTS
from topologies import alerts_stage
from topologies.topic_admin import ensure_topics

SILENT_AFTER_S = 10.0
PLANT = Plant(
    plant="no-broker",
    lines=(Line(name="line-1", stations=(Station(name="aoi", cameras=(), plc="plc-1"),)),),
    recipes=(),
    plcs=(Plc(name="plc-1", endpoint="opc.tcp://127.0.0.1:4840/", security="none"),),
    alerts=(
        SilentStationRule(name="silent", after_ms=int(SILENT_AFTER_S * 1000)),
        BrokerAwayRule(name="broker", after_ms=1_000, clear_after_ms=2_000),
    ),
    kafka=KafkaLayout(partitions=1),
)


def arrival(number: int) -> tuple[str, PartArrived]:
    return "aoi", PartArrived(
        id=f"aoi/{number}/1/arrived",
        station="aoi",
        part_id=str(number),
        visit=1,
        recipe="board@1",
        expected_views=(),
        trigger_count=number,
        occurred_at_ns=time.time_ns(),
    )


async def test_a_broker_that_is_away_makes_no_line_silent(
    mortal_kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", mortal_kafka.bootstrap_servers)
    monkeypatch.setenv("LINESIGHT_RUN_DIR", str(tmp_path))
    settings, stop, stage = KafkaSettings(), asyncio.Event(), Stage("alerts")
    topics = (VERDICTS, INSPECTIONS, PLC_EVENTS, ALERTS, COMMANDS, AUDIT, DEAD_LETTERS)
    await ensure_topics(PLANT, kafka=settings, topics=topics)

    def taken() -> float:
        return stage.registry.get_sample_value("linesight_alerts_in_total", {"topic": "plc-events"}) or 0

    task = asyncio.create_task(alerts_stage.run(PLANT, plant_dir=Path(), stage=stage, stop=stop))
    await until(lambda: stage.ready, "the stage is ready")
    await publish(settings, PLANT, PLC_EVENTS, [arrival(1)])
    await until(lambda: taken() == 1, "the arrival is seen")
    seen_s = time.monotonic()
    mortal_kafka.child.kill()
    await until(lambda: not stage.ready, "the stage notices", within_s=SILENT_AFTER_S - 0.5)
    await until(lambda: time.monotonic() > seen_s + SILENT_AFTER_S + 3, "longer than a station may be silent")
    await asyncio.to_thread(mortal_kafka.start)
    await publish(settings, PLANT, PLC_EVENTS, [arrival(2)])
    await until(lambda: stage.ready and taken() == 2, "the line is seen again")
    back_ns = time.time_ns()

    async def told() -> bool:
        return any(each.rule == "silent" for each in await read_to_end(settings, PLANT, ALERTS))

    await until(told, "now it is silent")
    stop.set()
    await asyncio.wait_for(task, 15)
    away, over, alert = await read_to_end(settings, PLANT, ALERTS)
    assert [(each.rule, each.subject, each.state) for each in (away, over)] == [
        ("broker", "line-1", AlertState.RAISED),
        ("broker", "line-1", AlertState.CLEARED),
    ]
    assert (away.value or 0) >= 1_000
    assert (alert.state, alert.subject) == (AlertState.RAISED, "aoi")
    assert alert.at_ns > back_ns, "not for the time in which nobody could see"
