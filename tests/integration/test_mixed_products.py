"""Three products on one line in random order: a whole line with real PLC server, Kafka and Triton, in this process."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from board_frames import PLANT_DIR, demo_plant, reference_digest
from broker import read_to_end, read_until, until
from inspecting import inspecting
from plant_floor import STATION, Floor, http_source, make_topics, running
from recipe_models import models_per_recipe

from gateways import plc_gateway, station_gateway
from ops.local.ports import free_ports
from ops.local.triton import LocalTriton
from schemas.inspections import Inspection
from schemas.plant import Plant, Plc
from schemas.plc_events import PartArrived
from schemas.reasons import FrameOutcome
from schemas.settings import KafkaSettings
from schemas.topics import INSPECTIONS, PLC_EVENTS, VERDICTS
from schemas.verdicts import Verdict
from simulation.cameras import CameraServer
from simulation.defects import DefectKind
from simulation.pictures import take_pictures
from topologies import judge_stage

SEED = 20_261_130
PARTS = 12
DEADLINE_MS = 45_000  # that no model or part is late on a busy machine is not what this test is about
VIEWS = ("left", "middle", "right")


@dataclass(frozen=True, kw_only=True)
class Works:
    """The line; `arrive` brings a part of a product."""

    floor: Floor
    plant: Plant
    cameras: CameraServer
    settings: KafkaSettings

    async def arrive(self, part_id: str, recipe: str, *, bad: bool) -> None:
        product = self.plant.recipe(recipe)
        assert product is not None
        defects = (DefectKind.SHORT, DefectKind.OPEN, DefectKind.SHORT) if bad else ()
        pictures = take_pictures(product, defects=defects, lighting_drift_ratio=0.0, seed=(SEED, int(part_id)))
        await self.floor.server.arrive(
            STATION,
            part_id=part_id,
            recipe=recipe,
            batch="mixed",
            before=lambda arrival: self.cameras.expose(arrival.trigger_count, pictures.jpegs, at_ns=arrival.at_ns),
        )


def mixed_plant(name: str, *, plc: Plc, camera_port: int, repository: Path) -> Plant:
    """The demo's station with this PLC and these cameras; each product has models of its own."""
    plant = models_per_recipe(repository, demo_plant(name))
    recipes = tuple(msgspec.structs.replace(recipe, deadline_ms=DEADLINE_MS) for recipe in plant.recipes)
    (line,) = plant.lines
    (station,) = line.stations
    cameras = tuple(
        msgspec.structs.replace(camera, source=http_source(camera_port, camera.name)) for camera in station.cameras
    )
    station = msgspec.structs.replace(station, cameras=cameras, gate_after_ms=60_000)
    line = msgspec.structs.replace(line, stations=(station,))
    return msgspec.structs.replace(plant, lines=(line,), recipes=recipes, plcs=(plc,), assets=())


@pytest.fixture
async def works(
    kafka: str, triton_installed: None, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Works]:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    monkeypatch.setenv("TRITON_MODEL_REPOSITORY", str(tmp_path / "models"))
    monkeypatch.setenv("TRITON_KEPT_RECIPES", "1")
    settings, (port,) = KafkaSettings(), free_ports(1)
    async with AsyncExitStack() as stack:
        floor = await stack.enter_async_context(Floor())
        plant = mixed_plant(unique_prefix, plc=floor.plc, camera_port=port, repository=tmp_path / "models")
        await make_topics(plant, settings)
        server = stack.enter_context(LocalTriton(tmp_path, tmp_path / "models", models=()))
        monkeypatch.setenv("TRITON_URL", server.url)
        cameras = await stack.enter_async_context(CameraServer(plant.stations[0].cameras))
        stage = await stack.enter_async_context(inspecting(plant, plant_dir=PLANT_DIR))
        for run, name in (
            (judge_stage.run, "judge"),
            (plc_gateway.run, "plc_gateway"),
            (station_gateway.run, "station_gateway"),
        ):
            await stack.enter_async_context(running(run, plant, name=name, plant_dir=PLANT_DIR))
        await until(lambda: stage.ready, "inspect is ready")
        yield Works(floor=floor, plant=plant, cameras=cameras, settings=settings)


async def test_every_part_is_judged_against_its_own_recipe_though_the_next_product_is_selected_already(
    works: Works,
) -> None:
    order = random.Random(SEED)
    products = {str(number): order.choice([recipe.key for recipe in works.plant.recipes]) for number in range(PARTS)}
    bad = {part_id: order.random() < 0.5 for part_id in products}
    assert len(set(products.values())) == 3
    for part_id, recipe in products.items():
        await works.arrive(part_id, recipe, bad=bad[part_id])
        assert works.floor.value("recipe") == recipe, "the PLC selects with each part, whatever is still on the belt"
    verdicts: list[Verdict] = await read_until(works.settings, works.plant, VERDICTS, PARTS)
    await until(lambda: len(works.floor.executed_requests) == PARTS, "the PLC has taken every verdict")

    arrived = [
        event for event in await read_to_end(works.settings, works.plant, PLC_EVENTS) if isinstance(event, PartArrived)
    ]
    assert {event.part_id: event.recipe for event in arrived} == products
    inspections: list[Inspection] = await read_to_end(works.settings, works.plant, INSPECTIONS)
    assert len(inspections) == PARTS * len(VIEWS)
    for each in inspections:
        recipe = works.plant.recipe(products[each.part_id])
        assert recipe is not None
        assert (each.recipe, each.outcome, each.reason) == (recipe.key, FrameOutcome.INSPECTED, None)
        assert each.reference == reference_digest(f"{recipe.name}-{each.view}.png")
        assert [use.model for use in each.models] == [recipe.inspection.compare.name, recipe.inspection.classifier.name]
    expected = {part_id: "NOT_OK" if bad[part_id] else "OK" for part_id in products}
    assert {verdict.part_id: verdict.recipe for verdict in verdicts} == products
    assert {verdict.part_id: str(verdict.verdict) for verdict in verdicts} == expected
    assert {request.part_id: request.verdict for request in works.floor.executed_requests} == expected
