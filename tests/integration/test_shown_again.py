"""Whether a part was mixed up or the model does not know better: its pictures are shown to the served models again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from board_frames import PLANT_DIR, demo_plant, frame, pictures
from broker import publish, read_until
from test_backfill_stage import running

from benchmarks.chaos_floor.shown_again import judged_alike_again
from cli.truth import TruthFile
from schemas.inspections import Inspection
from schemas.object_store import sha256_hex
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES, INSPECTIONS
from topologies.topic_admin import ensure_topics


async def test_a_part_is_the_models_own_only_with_its_own_pictures_judged_alike_again(
    kafka: str, triton: str, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("TRITON_URL", triton)
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    settings, plant = KafkaSettings(), demo_plant(unique_prefix)
    await ensure_topics(plant, kafka=settings)
    jpegs = pictures(plant, seed=1).jpegs
    views = [view.name for view in plant.recipes[0].views]
    parts = ("alike", "another-part's-picture", "judged-otherwise", "a-view-short")
    frames = [
        frame(jpegs[view], camera=view, sequence=number, part_id=part_id)
        for number, part_id in enumerate(parts)
        for view in views
        if (part_id, view) != ("a-view-short", views[0])
    ]
    async with running(plant, "inspect"):
        await publish(settings, plant, FRAMES, [(each.camera, each) for each in frames])
        said: list[Inspection] = await read_until(settings, plant, INSPECTIONS, len(frames))
    spoilt = next(each for each in said if each.part_id == "judged-otherwise")
    await publish(settings, plant, INSPECTIONS, [(spoilt.camera, msgspec.structs.replace(spoilt, reason="timeout"))])
    truth = TruthFile(path=tmp_path / "truth.jsonl")
    drawn = {view: sha256_hex(jpegs[view]) for view in views}
    truth.pictures = {(part_id, 1): drawn for part_id in parts}
    truth.pictures["another-part's-picture", 1] = {**drawn, views[0]: sha256_hex(b"its own")}
    found = await judged_alike_again(plant, plant_dir=PLANT_DIR, truth=truth, parts=truth.pictures.keys())
    assert found == {("alike", 1)}
