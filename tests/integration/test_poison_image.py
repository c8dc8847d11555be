"""A model that crashes or hangs on one image: that frame ends as a dead letter, the others of its batch do not, and the line goes on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from board_frames import PLANT_DIR, demo_plant, frame, pictures
from broker import publish, read_to_end, read_until, until
from failing_models import FAULTS, poisonable_models
from inspecting import inspecting

from ops.local.triton import LocalTriton
from schemas.frames import Frame, ImageEncoding
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import DEAD_LETTERS, FRAMES, INSPECTIONS
from topologies.topic_admin import ensure_topics

pytestmark = pytest.mark.timeout(300)

ROUNDS = 12
POISONED_ROUND = 5
REQUEST_TIMEOUT_MS = 2_000
DONE_WITHIN_S = 150.0


def frames_of(plant: Plant) -> list[Frame]:
    """Good frames of three cameras side by side, and one with the px that the model cannot stand."""
    raw = {"encoding": ImageEncoding.RAW, "width_px": 640, "height_px": 640}
    found = []
    for camera, jpeg in pictures(plant, seed=1).jpegs.items():
        good = np.minimum(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE), 250)
        for number in range(ROUNDS):
            picture = good.copy()
            if camera == "left" and number == POISONED_ROUND:
                picture[300:308, 300:308] = 255
            found.append(frame(picture.tobytes(), camera=camera, sequence=number, **raw))
    return sorted(found, key=lambda each: each.sequence)


@asynccontextmanager
async def kept_running(server: LocalTriton) -> AsyncIterator[None]:
    """Starts the server again whenever it has ended, as the supervisor of a line does."""

    async def keep() -> None:
        while True:
            await until(lambda: server.poll() is not None, "the server has ended", within_s=DONE_WITHIN_S)
            await asyncio.to_thread(server.start)

    keeping = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})


@pytest.mark.usefixtures("triton_installed")
@pytest.mark.parametrize("fault", ["crashes", "kills the server", pytest.param("hangs", marks=pytest.mark.soak)])
async def test_a_poisoned_frame_costs_only_itself(
    fault: str, kafka: str, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    monkeypatch.setenv("TRITON_TIMEOUT_MS", str(REQUEST_TIMEOUT_MS))
    settings, plant = KafkaSettings(bootstrap_servers=kafka), demo_plant(unique_prefix)
    await ensure_topics(plant, kafka=settings, topics=(FRAMES, INSPECTIONS, DEAD_LETTERS))
    poisonable_models(tmp_path / "models", FAULTS[fault])
    frames = frames_of(plant)
    poisoned = f"left/s1/{POISONED_ROUND}"
    with LocalTriton(tmp_path, tmp_path / "models", models=()) as server:
        monkeypatch.setenv("TRITON_URL", server.url)
        async with kept_running(server), inspecting(plant, plant_dir=PLANT_DIR) as stage:
            await until(lambda: stage.ready, "the stage is ready")
            await publish(settings, plant, FRAMES, [(each.camera, each) for each in frames])
            found = await read_until(settings, plant, INSPECTIONS, len(frames), within_s=DONE_WITHIN_S)
            await until(
                lambda: stage.ready and stage.registry.get_sample_value("linesight_inspect_in_progress") == 0,
                "the stage is ready and idle",
            )
    assert {each.id: each.reason for each in found} == {
        each.id: "model_failed" if each.id == poisoned else None for each in frames
    }
    letters = await read_to_end(settings, plant, DEAD_LETTERS)
    assert [(letter.frame_id, letter.reason) for letter in letters] == [(poisoned, "model_failed")]
    others = sorted(each.inspected_at_ns for each in found if each.camera != "left")
    given_up_ns = next(each.inspected_at_ns for each in found if each.id == poisoned)
    longest = max(later - earlier for earlier, later in itertools.pairwise(others))
    print(f"{fault}: given up after {(given_up_ns - others[0]) / 1e9:.1f} s; others waited {longest / 1e9:.1f} s")
