"""A training run on a real broker: from a request over reviews and gates to a released version, taken up where it was cut off.

The child that trains is replaced by one that writes a small model at once: torch is not needed to show how a run goes.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from broker import publish, read_to_end
from reviewed_line import learning, reviewed_task

from cli.child_job import JobFailed
from cli.model_log import read_registry
from cli.training_run import Task, TrainingRun
from processors.model_state import RunStep
from schemas.alerts import RetrainingTrigger
from schemas.records import ModelChange, ModelEvent
from schemas.topics import AUDIT, MODELS, RETRAINING
from training.datasets import checked, open_dataset


@pytest.fixture
async def task(kafka: str, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    return await reviewed_task(kafka, unique_prefix, tmp_path, monkeypatch)


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
