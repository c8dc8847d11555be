"""Control charts and watched assets through the real stages: points, a baseline that a person freezes, alerts, restarts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broker import publish, read_to_end, until
from typer.testing import CliRunner

from cli.main import app
from schemas.alerts import AlertState
from schemas.charts import ChartPoint
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.reasons import FailSafe, VerdictValue
from schemas.sensors import SensorReading
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import ALERTS, ASSET_BASELINES, AUDIT, CATALOGUE, CHARTS, SENSORS, VERDICTS
from schemas.verdicts import Verdict, verdict_id
from topologies import alerts_stage, sensors_stage, statistics_stage
from topologies.topic_admin import ensure_topics

S = 1_000_000_000
PLANT_FILE = """
plant: {name}
lines: [{{ name: line-1, stations: [{{ name: cut,
  cameras: [{{ name: top, views: [top], source: {{ type: external }} }}] }}] }}]
recipes: [{{ name: board, views: [{{ name: top }}], inspection: {{ type: golden }}, classes: [{{ name: open }}] }}]
assets: [{{ name: pump, line: line-1, watch: {{ every_ms: 1000, learn_rows: 200 }},
  channels: [{{ name: flow, unit: l/s, sample_ms: 1000 }}, {{ name: heat, unit: Cel, sample_ms: 1000 }}] }}]
alerts:
  - {{ name: control, type: chart, chart: rate, clear_after_points: 3 }}
  - {{ name: pump-odd, type: asset_watch, asset: pump }}
statistics:
  windows_ms: [1000]
  grace_ms: 500
  idle_timeout_ms: 1000
  charts:
    - {{ name: rate, figure: {{ type: not_ok }}, chart: p, window_ms: 1000 }}
    - {{ name: flow, figure: {{ type: measurement, asset: pump, channel: flow }}, chart: xbar_s, subgroup: 4 }}
kafka: {{ partitions: 2 }}
"""


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    return KafkaSettings()


@pytest.fixture
async def file(settings: KafkaSettings, unique_prefix: str, tmp_path: Path) -> Path:
    file = tmp_path / "plant.yaml"
    file.write_text(PLANT_FILE.format(name=unique_prefix), encoding="utf-8")
    await ensure_topics(load_plant(file), kafka=settings, topics=CATALOGUE)
    return file


@asynccontextmanager
async def running(module: Any, plant: Plant, name: str) -> AsyncIterator[Stage]:
    stop, stage = asyncio.Event(), Stage(name)
    task = asyncio.create_task(module.run(plant, plant_dir=Path(), stage=stage, stop=stop))
    try:
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(task, 15)


def verdicts(start_ns: int, counts: list[int], *, parts: int = 20, revision: int = 1) -> list[tuple[str, Verdict]]:
    """One second after the other, with so many of its parts NOT_OK."""
    return [
        (
            "cut",
            Verdict(
                id=verdict_id(station="cut", part_id=f"{start_ns}/{second}/{n}", visit=1, revision=revision),
                station="cut", line="line-1", part_id=f"{start_ns}/{second}/{n}", visit=1, revision=revision,
                verdict=VerdictValue.NOT_OK if n < bad else VerdictValue.OK, action=FailSafe.REJECT,
                arrived_at_ns=start_ns + second * S + n, decided_at_ns=start_ns + second * S + n, recipe="board@1",
            ),
        )
        for second, bad in enumerate(counts)
        for n in range(parts)
    ]  # fmt: skip


def with_baselines(file: Path) -> Plant:
    text = file.read_text(encoding="utf-8")
    named = text.replace("  charts:\n", "  baseline_files: [baselines/rate.yaml]\n  charts:\n")
    file.write_text(named, encoding="utf-8")
    return load_plant(file)


def newest(points: list[ChartPoint]) -> dict[int, ChartPoint]:
    by_id: dict[str, ChartPoint] = {}
    found: dict[int, ChartPoint] = {}
    for point in points:
        assert by_id.setdefault(point.id, point) == point, "one id, two contents"
        if point.start_at_ns not in found or point.revision >= found[point.start_at_ns].revision:
            found[point.start_at_ns] = point
    return found


async def test_a_person_freezes_a_baseline_and_points_after_it_raise_one_alert(
    settings: KafkaSettings, file: Path
) -> None:
    plant = load_plant(file)
    start_ns = (time.time_ns() - 300 * S) // S * S

    async def points() -> dict[int, ChartPoint]:
        found = await read_to_end(settings, plant, CHARTS)
        return newest([each for each in found if each.subject == "station/cut"])

    async with running(statistics_stage, plant, "statistics"):
        await publish(settings, plant, VERDICTS, verdicts(start_ns, [n % 3 for n in range(30)]))

        async def phase_one() -> bool:
            return len(await points()) == 30

        await until(phase_one, "30 points of phase I")
    assert {(p.phase, p.upper, p.size) for p in (await points()).values()} == {(1, None, 20)}

    moments = ["--from", _utc(start_ns), "--to", _utc(start_ns + 30 * S)]
    frozen = CliRunner().invoke(
        app, ["baselines", "freeze", "--chart", "rate", *moments, "--by", "M. Keller", "--plant", str(file)]
    )
    assert frozen.exit_code == 0, frozen.output
    assert "rate 0.05 (30 of 600), exact limits" in frozen.output
    plant = with_baselines(file)
    (audit,) = await read_to_end(settings, plant, AUDIT)
    assert (audit.actor, audit.action, audit.subject) == ("M. Keller", "freeze_baseline", "rate/station/cut")

    later_ns = (time.time_ns() + S) // S * S
    counts = [1, 9, 1, 1, 1, 1]
    async with running(statistics_stage, plant, "statistics"), running(alerts_stage, plant, "alerts"):
        await publish(settings, plant, VERDICTS, verdicts(later_ns, counts))

        async def cleared() -> bool:
            alerts = await read_to_end(settings, plant, ALERTS)
            return [alert.state for alert in alerts] == [AlertState.RAISED, AlertState.CLEARED]

        await until(cleared, "the alert is raised by the second point and cleared by three good ones")

        async def after() -> list[ChartPoint]:
            return [point for start, point in sorted((await points()).items()) if start >= later_ns]

        async def complete() -> bool:
            return len(await after()) == len(counts)

        await until(complete, "the last window is closed, too")
    assert [(p.phase, p.outside, p.count) for p in await after()] == [(2, n == 9, n) for n in counts]
    assert {p.frozen_by for p in await after()} == {"M. Keller"}
    told = len(await read_to_end(settings, plant, CHARTS))
    async with running(statistics_stage, plant, "statistics"), running(alerts_stage, plant, "alerts"):
        await publish(settings, plant, VERDICTS, verdicts(later_ns, [1], parts=1, revision=2))

        async def reviewed() -> bool:
            return (await points())[later_ns].count == 1 and len(await read_to_end(settings, plant, CHARTS)) > told

        await until(reviewed, "a review that changes nothing in the counts tells the point under its new revision")
    assert len(await read_to_end(settings, plant, ALERTS)) == 2


def _utc(at_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_ns // S))


def readings(rows: np.ndarray[Any, Any], *, first: int, start_ns: int) -> list[tuple[str, SensorReading]]:
    return [
        (
            "pump",
            SensorReading(
                id=f"pump/{channel}/s/{number}", asset="pump", channel=channel, session="s", sequence=number,
                measured_at_ns=start_ns + number * S, unit=unit, value=float(row[column]),
            ),
        )
        for number, row in enumerate(rows, first)
        for column, (channel, unit) in enumerate((("flow", "l/s"), ("heat", "Cel")))
    ]  # fmt: skip


async def test_an_asset_learns_once_what_is_normal_and_leaves_it_in_one_alert_that_names_the_channel(
    settings: KafkaSettings, file: Path
) -> None:
    plant = load_plant(file)
    rng, start_ns = np.random.default_rng(7), (time.time_ns() - 400 * S) // S * S
    normal = np.column_stack([rng.normal(50, 1, 260), rng.normal(40, 2, 260)])
    async with running(sensors_stage, plant, "sensors"):
        await publish(settings, plant, SENSORS, readings(normal[:150], first=0, start_ns=start_ns))

        async def charted() -> bool:
            return len(await read_to_end(settings, plant, CHARTS)) == 37

        await until(charted, "37 subgroups of 4")
        assert await read_to_end(settings, plant, ASSET_BASELINES) == []
    async with running(sensors_stage, plant, "sensors"):  # it goes on learning where it was
        await publish(settings, plant, SENSORS, readings(normal[150:240], first=150, start_ns=start_ns))

        async def learned() -> bool:
            return len(await read_to_end(settings, plant, ASSET_BASELINES)) == 1

        await until(learned, "normal operation is learned from 200 rows")
    (baseline,) = await read_to_end(settings, plant, ASSET_BASELINES)
    assert (baseline.rows, baseline.from_ns, baseline.watched) == (200, start_ns, (0, 1))
    hot = np.column_stack([rng.normal(50, 1, 20), rng.normal(52, 2, 20)])
    async with running(sensors_stage, plant, "sensors"):
        await publish(settings, plant, SENSORS, readings(hot, first=240, start_ns=start_ns))

        async def raised() -> bool:
            return [alert.state for alert in await read_to_end(settings, plant, ALERTS)] == [AlertState.RAISED]

        await until(raised, "the pump left its normal operation")
    async with running(sensors_stage, plant, "sensors"):  # another process, in the middle of the episode
        await publish(settings, plant, SENSORS, readings(normal[:120], first=260, start_ns=start_ns))

        async def cleared() -> bool:
            alerts = await read_to_end(settings, plant, ALERTS)
            return [alert.state for alert in alerts] == [AlertState.RAISED, AlertState.CLEARED]

        await until(cleared, "one episode, raised and cleared")

        async def all_charted() -> bool:
            return len(newest(await read_to_end(settings, plant, CHARTS))) == 380 // 4

        await until(all_charted, "every four rows are a point, whatever was restarted")
    begin, _ = await read_to_end(settings, plant, ALERTS)
    assert "driven by heat" in begin.summary
    assert (await read_to_end(settings, plant, ASSET_BASELINES)) == [baseline]
