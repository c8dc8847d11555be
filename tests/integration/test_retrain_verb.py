"""A training run on a real broker: from a request over reviews and gates to a released version, taken up where it was cut off.

The child that trains is replaced by one that writes a small model at once: torch is not needed to show how a run goes.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from broker import publish, read_to_end
from trained_folders import trained

from cli.child_job import JobFailed
from cli.model_log import read_registry
from cli.training_run import Task, TrainingRun, trained_pin
from ops.local.places import CHECKOUT
from processors.model_state import RunStep
from schemas.alerts import RetrainingTrigger
from schemas.inspections import Defect
from schemas.object_store import FolderStore, sha256_hex
from schemas.plant_file import load_plant
from schemas.reasons import FailSafe, VerdictValue
from schemas.records import ModelChange, ModelEvent, Review
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT, MODELS, RETRAINING, REVIEWS, VERDICTS
from schemas.verdicts import Verdict, ViewResult, picture_key, verdict_id
from topologies.topic_admin import ensure_topics
from training.datasets import checked, open_dataset
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


@pytest.fixture
async def task(kafka: str, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    """A line with reviewed parts, of which pictures are kept; version 1 of `spots` judges them, and sees no spot darker than 200."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    monkeypatch.setenv("TRITON_TRAINED_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("TRITON_URL", "127.0.0.1:1")
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    file = tmp_path / "plant.yaml"
    file.write_text(PLANT_FILE.format(name=unique_prefix), encoding="utf-8")
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


def learning(level: float) -> object:
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


async def go(task: Task, train: object, *, trigger: str = "") -> ModelEvent:
    return await asyncio.to_thread(TrainingRun(task, train=train).go, trigger=trigger)  # type: ignore[arg-type]


async def test_a_better_model_is_released_with_its_whole_lineage(task: Task, tmp_path: Path) -> None:
    trigger = RetrainingTrigger(
        id="spots/reviews/5", model="spots", cause="reviews", station="cut", fired_at_ns=5, evidence=()
    )
    await publish(task.kafka, task.plant, RETRAINING, [("spots", trigger)])
    end = await go(task, learning(100.0), trigger=trigger.id)
    assert (end.change, end.version) == (ModelChange.RELEASED, 2)
    assert all(gate.passed for gate in end.gates)
    events = await read_to_end(task.kafka, task.plant, MODELS)
    assert [each.change for each in events] == ["run_started", "data_frozen", "evaluated", "released"]
    assert events[0].trigger == trigger.id
    (home,) = (tmp_path / "training" / "spots").iterdir()
    assert checked(home / "dataset") == []
    assert open_dataset(home / "dataset").digest == events[1].dataset == end.dataset
    figures = events[2].figures
    assert figures["champion/escapes_ratio"] == 1.0, "version 1 sees no spot"
    assert figures["candidate/escapes_ratio"] == figures["candidate/overkill_ratio"] == 0.0
    state = read_registry(task.plant, task.kafka).state("spots")
    assert state.runs[end.run].version == 2
    audit = await read_to_end(task.kafka, task.plant, AUDIT)
    assert [each.action for each in audit] == [f"model_{each.change}" for each in events]


async def test_a_worse_model_is_not_released_and_the_gates_say_why(task: Task, tmp_path: Path) -> None:
    end = await go(task, learning(20.0))  # takes the whole part for a spot
    assert end.change is ModelChange.RUN_ENDED
    assert "overkill_ratio" in end.detail
    assert not (tmp_path / "models" / "spots" / "2").exists()
    state = read_registry(task.plant, task.kafka).state("spots")
    assert (state.open_run, state.highest) == (None, 0)


async def test_a_run_that_was_cut_off_goes_on_where_it_was(task: Task) -> None:
    def cut_off(labels: Path, out: Path) -> Sequence[str]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await go(task, cut_off)
    run = read_registry(task.plant, task.kafka).state("spots").open_run
    assert run is not None
    assert run.step is RunStep.FROZEN
    end = await go(task, learning(100.0))
    assert (end.change, end.run, end.dataset) == (ModelChange.RELEASED, run.run, run.dataset)
    events = await read_to_end(task.kafka, task.plant, MODELS)
    assert [each.change for each in events].count(ModelChange.DATA_FROZEN) == 1


async def test_training_that_fails_ends_the_run_with_what_it_said(task: Task) -> None:
    def fails(labels: Path, out: Path) -> Sequence[str]:
        return [sys.executable, "-c", "raise SystemExit('the loss was no number')"]

    end = await go(task, fails)
    assert end.change is ModelChange.RUN_ENDED
    assert "the loss was no number" in end.detail
    assert JobFailed.__name__ not in end.detail


async def test_the_next_run_keeps_the_sides_of_the_pictures(task: Task, tmp_path: Path) -> None:
    await go(task, learning(20.0))
    await go(task, learning(100.0))
    first, second = sorted((tmp_path / "training" / "spots").iterdir(), key=lambda path: int(path.name))
    assert open_dataset(second / "dataset").after == open_dataset(first / "dataset").digest
