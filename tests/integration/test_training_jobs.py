"""The trainer's runs on a real broker: a request is answered, a run that was killed is taken up, and what is missing is told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from broker import publish, read_to_end, until
from ops_processes import descendants
from reviewed_line import reviewed_task

from cli.training_jobs import TrainingJobs
from cli.training_run import Task
from ops.local.places import CHECKOUT
from schemas.alerts import RetrainingTrigger
from schemas.learning_settings import LearningSettings
from schemas.records import ModelChange, ModelEvent
from schemas.telemetry import Stage
from schemas.topics import MODELS, RETRAINING
from topologies.model_log import ModelLog
from topologies.producer import Producer

TESTS = Path(__file__).parents[1]
REQUEST = RetrainingTrigger(
    id="spots/reviews/5", model="spots", cause="reviews", station="cut", fired_at_ns=5, evidence=()
)


@pytest.fixture
async def task(kafka: str, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.setenv("LINESIGHT_RUN_DIR", str(tmp_path / "run"))
    task = await reviewed_task(kafka, unique_prefix, tmp_path, monkeypatch)
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, (CHECKOUT, TESTS, TESTS / "integration"))))
    (tmp_path / "training").mkdir()
    text = task.plant_file.read_text(encoding="utf-8")
    task.plant_file.write_text(text.replace("version: 1 }", "version: 1, follow: true }"), encoding="utf-8")
    return task


@asynccontextmanager
async def training(
    task: Task, *, missing: Callable[[], str] = lambda: "", command: Callable[[str], Sequence[str]] | None = None
) -> AsyncIterator[Stage]:
    """The trainer's runs until the block ends."""
    from schemas.plant_file import load_plant

    plant, stage = load_plant(task.plant_file), Stage("trainer")
    log = ModelLog(plant=plant, stage=stage)
    process = str(TESTS / "integration" / "retrain_process.py")
    async with Producer(plant=plant.plant, stage=stage, kafka=task.kafka) as producer:
        jobs = TrainingJobs(
            plant=plant,
            limits=LearningSettings(),
            log=log,
            producer=producer,
            stage=stage,
            command=command or (lambda model: [sys.executable, process, str(task.plant_file), str(task.folder), model]),
            missing=missing,
            run_dir=task.folder.parent / "run",
        )
        tasks = [asyncio.create_task(log.run(task.kafka)), asyncio.create_task(jobs.run())]
        try:
            yield stage
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def changes(task: Task) -> list[ModelChange]:
    events: list[ModelEvent] = await read_to_end(task.kafka, task.plant, MODELS)
    return [each.change for each in events if each.change is not ModelChange.TRAINING]


async def test_a_run_that_was_killed_is_taken_up_and_comes_to_its_end(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.training_jobs.RETRY_S", 0.5)
    await publish(task.kafka, task.plant, RETRAINING, [("spots", REQUEST)])
    async with training(task):
        await until((task.folder / "hung").exists, "the first training goes on")
        (child,) = [
            pid for pid, words in descendants(os.getpid()) if "retrain_process.py" in words and "guard" not in words
        ]
        os.kill(child, signal.SIGKILL)

        async def ended() -> bool:
            return ModelChange.RUN_ENDED in await changes(task)

        await until(ended, "the run is taken up and comes to its end")
        assert "time.sleep(600)" not in " ".join(words for _, words in descendants(os.getpid()))
    assert await changes(task) == ["run_started", "data_frozen", "run_ended"]
    events: list[ModelEvent] = await read_to_end(task.kafka, task.plant, MODELS)
    assert events[0].trigger == REQUEST.id
    assert {each.run for each in events} == {events[0].run}
    assert "the loss was no number" in events[-1].detail


async def test_a_run_that_is_cut_off_again_and_again_is_given_up_with_what_it_said(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.training_jobs.RETRY_S", 0.1)
    run = "spots/run/7"
    started = ModelEvent(
        id=f"{run}/run_started/7", model="spots", version=0, digest="", change=ModelChange.RUN_STARTED, at_ns=7, by="trainer", run=run,
    )  # fmt: skip
    await publish(task.kafka, task.plant, MODELS, [("spots", started)])
    dies = [sys.executable, "-c", "import os; print('the machine is too small', flush=True); os.abort()"]
    async with training(task, command=lambda model: dies) as stage:

        async def ended() -> bool:
            return ModelChange.RUN_ENDED in await changes(task)

        await until(ended, "the run is given up")
        noticed = stage.registry.get_sample_value("linesight_trainer_noticed_total", {"what": "training_cut_off"})
    events: list[ModelEvent] = await read_to_end(task.kafka, task.plant, MODELS)
    assert (events[-1].run, noticed) == (run, 3)
    assert "the machine is too small" in events[-1].detail


async def test_without_torch_a_request_waits_and_it_is_told_what_to_install(task: Task) -> None:
    await publish(task.kafka, task.plant, RETRAINING, [("spots", REQUEST)])
    async with training(task, missing=lambda: "torch not installed: `make setup-train`") as stage:

        def told() -> bool:
            what = {"what": "cannot_train"}
            return stage.registry.get_sample_value("linesight_trainer_noticed_total", what) == 1

        await until(told, "it says what is missing")
    assert await changes(task) == []
