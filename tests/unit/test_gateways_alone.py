"""A gateway with neither broker nor PLC starts, says that it is not ready, and stops when asked."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path

import pytest

from schemas.plant import Asset, Camera, Channel, FolderSource, Line, Plant, Plc, Station
from schemas.recipes import DefectClass, GoldenInspection, Recipe, View
from schemas.telemetry import Stage

PLANT = Plant(
    plant="alone",
    lines=(
        Line(
            name="line-1",
            stations=(
                Station(name="s", plc="plc", cameras=(Camera(name="c", views=("v",), source=FolderSource(path=".")),)),
            ),
        ),
    ),
    recipes=(
        Recipe(name="r", views=(View(name="v"),), inspection=GoldenInspection(), classes=(DefectClass(name="open"),)),
    ),
    plcs=(Plc(name="plc", endpoint="opc.tcp://127.0.0.1:9/", security="none"),),
    assets=(Asset(name="a", line="line-1", plc="plc", channels=(Channel(name="x", unit="1", node="s=x"),)),),
)


@pytest.mark.parametrize("gateway", ["station_gateway", "plc_gateway", "sensor_gateway"])
async def test_it_waits_for_its_services_and_stops_without_them(
    gateway: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path))
    monkeypatch.setenv("LINESIGHT_SPOOL_DIR", str(tmp_path / "spool"))
    run = importlib.import_module(f"gateways.{gateway}").run
    stage, stop = Stage(gateway), asyncio.Event()
    running = asyncio.create_task(run(PLANT, plant_dir=tmp_path, stage=stage, stop=stop))

    def tried(service: str) -> bool:
        return bool(stage.registry.get_sample_value(f"linesight_{gateway}_retried_total", {"reason": service}))

    async with asyncio.timeout(30):
        while not (tried("broker") and tried("plc")):
            assert not running.done()
            await asyncio.sleep(0.02)
    assert not stage.ready
    stop.set()
    await asyncio.wait_for(running, 12)
