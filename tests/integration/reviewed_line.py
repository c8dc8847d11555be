"""A line with reviewed parts whose pictures are kept, and a child that trains on them without torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from broker import publish
from trained_folders import trained

from cli.training_run import Task, Train, trained_pin
from ops.local.places import CHECKOUT
from schemas.inspections import Defect
from schemas.object_store import FolderStore, sha256_hex
from schemas.plant_file import load_plant
from schemas.reasons import FailSafe, VerdictValue
from schemas.records import Review
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT, MODELS, RETRAINING, REVIEWS, VERDICTS
from schemas.verdicts import Verdict, ViewResult, picture_key, verdict_id
from topologies.topic_admin import ensure_topics
from training.release import add_version, read_candidate

PLANT_FILE = """
plant: {name}
lines: [{{ name: line-1, stations: [{{ name: cut, cameras: [{{ name: top, views: [top], source: {{ type: external }} }}] }}] }}]
recipes: [{{ name: disc, views: [{{ name: top }}], inspection: {{ type: segmenter, model: {{ name: spots, version: 1 }} }},
  classes: [{{ name: spot }}] }}]
kafka: {{ partitions: 1 }}
"""
SPOT_GREY = 190
PARTS = 90


def picture(part: int) -> bytes:
    """Every third part has a spot."""
    noise = np.random.default_rng(part).integers(0, 60, (48, 64), dtype=np.uint8)
    image = cv2.GaussianBlur(noise, (0, 0), 3)
    if part % 3 == 0:
        image[10:22, 12:26] = SPOT_GREY
    return bytes(cv2.imencode(".png", image)[1])


async def reviewed_task(kafka: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    """A line with reviewed parts, of which pictures are kept; version 1 of `spots` judges them, and sees no spot darker than 200."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    monkeypatch.setenv("TRITON_TRAINED_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("TRITON_URL", "127.0.0.1:1")
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    file = tmp_path / "plant.yaml"
    file.write_text(PLANT_FILE.format(name=name), encoding="utf-8")
    plant, settings, store = load_plant(file), KafkaSettings(), FolderStore(tmp_path / "objects")
    await ensure_topics(plant, kafka=settings, topics=(VERDICTS, REVIEWS, MODELS, RETRAINING, AUDIT))
    add_version(tmp_path / "models", "spots", read_candidate(trained(tmp_path / "first" / "spots", level=200.0)), 1)
    mark = Defect(class_name="spot", score=1.0, box=(12, 10, 26, 22), area_px=168.0)
    verdicts, reviews = [], []
    for part in range(PARTS):
        image = picture(part)
        store.put(picture_key(sha256_hex(image)), image)
        verdicts.append(("cut", Verdict(
            id=verdict_id(station="cut", part_id=str(part), visit=1, revision=1), station="cut", line="line-1",
            part_id=str(part), visit=1, revision=1, verdict=VerdictValue.OK, action=FailSafe.PASS, arrived_at_ns=1,
            decided_at_ns=2, recipe="disc@1", views=(ViewResult(view="top", image_sha256=sha256_hex(image)),),
        )))  # fmt: skip
        bad = part % 3 == 0
        reviews.append(("cut", Review(
            id=f"cut/{part}/1/anna/{part}", station="cut", part_id=str(part), visit=1, reviewer="anna", reviewed_at_ns=part,
            verdict=VerdictValue.NOT_OK if bad else VerdictValue.OK, view="top" if bad else "", defects=(mark,) if bad else (),
        )))  # fmt: skip
    await publish(settings, plant, VERDICTS, verdicts)
    await publish(settings, plant, REVIEWS, reviews)
    found = trained_pin(plant, "spots")
    assert found == ("segmenter", ("disc@1",), 1)
    return Task(
        plant=plant, plant_file=file, kafka=settings, model="spots", family="segmenter", recipes=("disc@1",), pinned=1,
        folder=tmp_path / "training", budget_min=0.1, by="trainer", say=print,
    )  # fmt: skip


def learning(level: float) -> Train:
    """A child that `learns` a model which sees spots brighter than `level`."""

    def command(labels: Path, out: Path) -> Sequence[str]:
        assert labels.name == "train.jsonl"
        tests = Path(__file__).parents[1]
        code = (
            f"import sys; sys.path[:0] = [{str(tests)!r}, {str(CHECKOUT)!r}]; from pathlib import Path; "
            f"from trained_folders import trained; trained(Path({str(out)!r}), level={level})"
        )
        return [sys.executable, "-c", code]

    return command
