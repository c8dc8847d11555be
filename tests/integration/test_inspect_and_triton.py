"""The inspect stage and its Triton: killed, without a model, with one that fails, not there at all. It costs time and no frame."""

from __future__ import annotations

import asyncio
from pathlib import Path

import cv2
import msgspec
import numpy as np
import psutil
import pytest
from board_frames import PLANT_DIR, demo_plant, frame, pictures
from broker import committed, publish, read_to_end, read_until, until
from failing_models import model_that_fails_on_white
from inspecting import inspecting, keyed, value

from ops.local.places import CHECKOUT
from ops.local.ports import free_ports
from ops.local.triton import LocalTriton
from schemas.errors import ConfigurationError
from schemas.frames import ImageEncoding
from schemas.object_store import FolderStore
from schemas.plant import Plant
from schemas.reasons import FrameOutcome
from schemas.recipes import ModelPin
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import DEAD_LETTERS, FRAMES, INSPECTIONS
from simulation.defects import DefectKind
from topologies.inspect_stage import run
from topologies.topic_admin import ensure_topics


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka)


@pytest.fixture
async def plant(settings: KafkaSettings, unique_prefix: str) -> Plant:
    plant = demo_plant(unique_prefix)
    await ensure_topics(plant, kafka=settings, topics=(FRAMES, INSPECTIONS, DEAD_LETTERS))
    return plant


@pytest.fixture
def objects(tmp_path: Path, kafka: str, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """The stage's object store; the stage finds its services in the environment, as in a plant."""
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    return FolderStore(tmp_path / "objects")


@pytest.fixture
def services(objects: FolderStore, triton: str, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setenv("TRITON_URL", triton)
    return objects


@pytest.mark.usefixtures("objects", "triton_installed")
async def test_a_killed_triton_costs_time_and_no_frame(
    settings: KafkaSettings, plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = pictures(plant, seed=1, defects=(DefectKind.SHORT,))
    # started without models: the stage loads what its recipes pin, now and after a restart
    with LocalTriton(tmp_path, CHECKOUT / "triton_models", models=()) as server:
        monkeypatch.setenv("TRITON_URL", server.url)
        async with inspecting(plant, plant_dir=PLANT_DIR) as stage:
            await until(lambda: stage.ready, "the stage is ready")
            first = [frame(part.jpegs[camera], camera=camera, sequence=n) for n in range(60) for camera in part.jpegs]
            await publish(settings, plant, FRAMES, keyed(first))
            await until(lambda: value(stage, "out_total", topic="inspections") >= 20, "it is in the middle of its work")
            await asyncio.to_thread(server.child.kill)
            await until(lambda: not stage.ready, "the stage says that it is not ready")
            second = [frame(part.jpegs[camera], camera=camera, sequence=60, part_id="x") for camera in part.jpegs]
            await publish(settings, plant, FRAMES, keyed(second))
            await until(lambda: value(stage, "retried_total", reason="triton") > 0, "attempts are repeated")
            await asyncio.to_thread(server.start)
            found = await read_until(settings, plant, INSPECTIONS, 183)
            await until(lambda: stage.ready and value(stage, "in_progress") == 0, "the stage is ready and idle")
    assert {each.id for each in found} == {each.id for each in [*first, *second]}
    assert len(found) == 183
    assert all(each.outcome is FrameOutcome.INSPECTED for each in found)


def kill_model_processes(server: LocalTriton) -> None:
    """As when the model's own process crashes and the server lives on."""
    stubs = [
        process
        for process in psutil.Process(server.child.pid).children(recursive=True)
        if "triton_python_backend_stub" in process.name() or "python_backend_stub" in " ".join(process.cmdline())
    ]
    assert stubs
    for stub in stubs:
        stub.kill()


@pytest.mark.usefixtures("objects", "triton_installed")
async def test_killed_model_processes_cost_no_frame_while_the_server_says_it_is_ready(
    settings: KafkaSettings, plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = pictures(plant, seed=1, defects=(DefectKind.SHORT,))
    frames = [frame(part.jpegs[camera], camera=camera, sequence=n) for n in range(60) for camera in part.jpegs]
    with LocalTriton(tmp_path, CHECKOUT / "triton_models", models=()) as server:
        monkeypatch.setenv("TRITON_URL", server.url)
        async with inspecting(plant, plant_dir=PLANT_DIR) as stage:
            await publish(settings, plant, FRAMES, keyed(frames))
            await until(lambda: value(stage, "out_total", topic="inspections") >= 20, "it is in the middle of its work")
            kill_model_processes(server)
            found = await read_until(settings, plant, INSPECTIONS, 180)
            await until(lambda: stage.ready and value(stage, "in_progress") == 0, "the stage is ready and idle")
    assert len(found) == len({each.id for each in found}) == 180
    assert all(each.outcome is FrameOutcome.INSPECTED for each in found)


@pytest.mark.usefixtures("objects", "triton_installed")
async def test_a_frame_on_which_the_model_fails_costs_only_itself(
    settings: KafkaSettings, plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_that_fails_on_white(tmp_path / "models")
    grey = cv2.imdecode(np.frombuffer(pictures(plant, seed=1).jpegs["left"], np.uint8), cv2.IMREAD_GRAYSCALE)
    good = np.minimum(grey, 250)
    bad = good.copy()
    bad[300:308, 300:308] = 255
    raw = {"encoding": ImageEncoding.RAW, "width_px": 640, "height_px": 640}
    frames = [frame((bad if number == 5 else good).tobytes(), sequence=number, **raw) for number in range(12)]
    with LocalTriton(tmp_path, tmp_path / "models", models=()) as server:
        monkeypatch.setenv("TRITON_URL", server.url)
        async with inspecting(plant, plant_dir=PLANT_DIR) as stage:
            await publish(settings, plant, FRAMES, keyed(frames))
            found = await read_until(settings, plant, INSPECTIONS, 12)
            await until(lambda: stage.ready and value(stage, "in_progress") == 0, "the stage is ready and idle")
    assert [each.reason for each in found] == [None] * 5 + ["model_failed"] + [None] * 6
    letters = await read_to_end(settings, plant, DEAD_LETTERS)
    assert [(letter.frame_id, letter.reason) for letter in letters] == [("left/s1/5", "model_failed")]


@pytest.mark.usefixtures("objects")
async def test_a_stage_that_is_stopped_while_triton_is_away_ends_in_time_and_the_next_one_does_the_work(
    settings: KafkaSettings, plant: Plant, triton: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pictures(plant, seed=1).jpegs["left"]
    frames = [frame(image, sequence=number) for number in range(30)]
    await publish(settings, plant, FRAMES, keyed(frames))
    monkeypatch.setenv("TRITON_URL", f"127.0.0.1:{free_ports(1)[0]}")
    async with inspecting(plant, plant_dir=PLANT_DIR) as stage:
        await until(lambda: value(stage, "in_progress") == 30, "all frames are read")
        assert not stage.ready
    assert await committed(settings, f"{plant.plant}.inspect") == 0
    monkeypatch.setenv("TRITON_URL", triton)
    async with inspecting(plant, plant_dir=PLANT_DIR):
        found = await read_until(settings, plant, INSPECTIONS, 30)
    assert [each.sequence for each in found] == list(range(30))


async def test_a_version_that_the_server_does_not_have_is_an_error_of_configuration(
    settings: KafkaSettings, plant: Plant, services: FolderStore
) -> None:
    recipe = plant.recipes[0]
    inspection = msgspec.structs.replace(recipe.inspection, compare=ModelPin(name="golden_compare", version=99))
    wrong = msgspec.structs.replace(plant, recipes=(msgspec.structs.replace(recipe, inspection=inspection),))
    with pytest.raises(ConfigurationError, match=r"golden_compare.*not version 99"):
        await asyncio.wait_for(run(wrong, plant_dir=PLANT_DIR, stage=Stage("inspect"), stop=asyncio.Event()), 60)
