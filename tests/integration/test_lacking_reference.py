"""A recipe whose reference is missing: known before a part comes, and over when the picture is there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from board_frames import PLANT_DIR, demo_plant
from broker import until
from inspecting import inspecting

from schemas.settings import KafkaSettings
from schemas.topics import DEAD_LETTERS, FRAMES, INSPECTIONS
from topologies import warm_recipes
from topologies.topic_admin import ensure_topics

FILE = "references/board-b-middle.png"


async def test_a_recipe_lacks_its_reference_until_the_picture_is_there(
    kafka: str, triton: str, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("TRITON_URL", triton)
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    monkeypatch.setattr(warm_recipes, "RETRY_S", 0.1)
    monkeypatch.setattr(warm_recipes, "LOOK_EVERY_S", 0.1)
    plant = demo_plant(unique_prefix)
    await ensure_topics(plant, kafka=KafkaSettings(), topics=(FRAMES, INSPECTIONS, DEAD_LETTERS))
    shutil.copytree(PLANT_DIR / "references", tmp_path / "references")
    (tmp_path / FILE).unlink()
    async with inspecting(plant, plant_dir=tmp_path) as stage:
        await until(lambda: stage.ready, "the other recipes can be inspected")
        assert stage.recipes.lacking == ("board-b@1",)
        assert FILE in stage.recipes.reasons["board-b@1"]
        shutil.copy(PLANT_DIR / FILE, tmp_path / FILE)
        await until(lambda: stage.recipes.lacking == (), "the picture is found")
        noticed = stage.registry.get_sample_value("linesight_inspect_noticed_total", {"what": "missing_reference"})
        assert noticed == 1, "looked for many times, told once"
