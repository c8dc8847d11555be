"""Training runs as the trainer stage supervises them: `linesight retrain` as a child process, one at a time, taken up where it ended.

The child leaves the machine to the line (its own children are nice 15, one thread, 8 GiB) and writes every step to `models` by itself. A
run that was cut off - a kill -9 of the child or of this process, a power cut - stands open on the topic and is taken up by the next child.
One that is cut off again and again is ended, with what it said last.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from ops.local.children import Child
from processors.learning_plan import next_run, trained_models
from processors.model_steps import audit_of, run_end
from schemas.learning_settings import LearningSettings
from schemas.plant import Plant
from schemas.telemetry import Noticed, Stage
from schemas.topics import AUDIT, MODELS
from topologies.model_log import ModelLog
from topologies.producer import Outgoing, Producer
from topologies.trial_watch import BY

LOOK_EVERY_S = 0.5
MOST_TRIES = 3
"""A run whose child ends so often without an end of the run is given up."""
RETRY_S = 60.0
"""After a child that failed, whatever the model: what made it fail may pass."""
GRACE_S = 5.0
CONFIGURATION = 2
"""Exit code of a child that a person has to help."""

Command = Callable[[str], Sequence[str]]
"""The command that answers a request for training of a model, or takes its open run up."""


class TrainingJobs:
    """Starts a run when one is due. `missing` names what training needs and does not find here, "" where nothing is missing."""

    def __init__(
        self,
        *,
        plant: Plant,
        limits: LearningSettings,
        log: ModelLog,
        producer: Producer,
        stage: Stage,
        command: Command,
        missing: Callable[[], str],
        run_dir: Path,
    ) -> None:
        self._models = trained_models(plant)
        self._limits = limits
        self._log = log
        self._producer = producer
        self._stage = stage
        self._command = command
        self._missing = missing
        self._log_dir = run_dir / "logs"
        self._tries: Counter[str] = Counter()
        self._told: set[str] = set()
        self._running = stage.gauge("training", "1 while a training run goes on.")

    async def run(self) -> None:
        """Answers requests until cancelled; then ends the child."""
        await self._log.began.wait()
        while True:
            model = self._due()
            if model is None:
                await asyncio.sleep(LOOK_EVERY_S)
            elif not await self._train(model):
                await asyncio.sleep(RETRY_S)

    def _due(self) -> str | None:
        registry = self._log.registry
        model = next_run(
            registry.models, self._log.triggers.values(), self._limits, models=self._models, now_ns=time.time_ns()
        )
        if model is None or not (missing := self._missing()):
            return model
        if model not in self._told:  # a request waits for as long as it takes somebody to install it
            self._told.add(model)
            self._stage.emit(Noticed(what="cannot_train", subject=model, detail=missing))
        return None

    async def _train(self, model: str) -> bool:
        """One child to its end; whether the run came to one of its ends."""
        child = Child(name=f"retrain-{model}", command=self._command(model), log_dir=self._log_dir, grace_s=GRACE_S)
        self._stage.log.info("training_started", model=model)
        self._running.set(1)
        try:
            await asyncio.to_thread(child.start)
            while child.poll() is None:  # noqa: ASYNC110  a process that the guard waits for
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self._running.set(0)
            await asyncio.to_thread(child.stop)
        return await self._ended(model, child)

    async def _ended(self, model: str, child: Child) -> bool:
        await asyncio.sleep(2 * LOOK_EVERY_S)  # what it wrote last is on its way to the log
        run = self._log.registry.state(model).open_run
        said = child.last_words()
        if run is None and self._due() != model:
            self._stage.log.info("training_ended", model=model, said=said)
            return True
        self._stage.emit(Noticed(what="training_cut_off", subject=run.run if run else model, detail=said))
        if run is None or child.poll() == CONFIGURATION:  # somebody trains it by hand, or something has to be mended
            return False
        self._tries[run.run] += 1
        if self._tries[run.run] >= MOST_TRIES:
            detail = f"given up after {MOST_TRIES} tries; the last one said: {said}"
            event = run_end(model=model, run=run.run, at_ns=time.time_ns(), by=BY, detail=detail)
            await self._producer.send(
                [
                    Outgoing(topic=MODELS, key=model, message=event),
                    Outgoing(topic=AUDIT, key=BY, message=audit_of(event)),
                ]
            )
            await self._log.has(event.id)
            del self._tries[run.run]
            return True
        return False


def retrain_command(plant_file: Path, limits: LearningSettings) -> Command:
    """`linesight retrain` with this interpreter."""

    def command(model: str) -> Sequence[str]:
        budget = f"{limits.budget_min:g}"
        return [
            sys.executable, "-m", "cli.main", "retrain", model,
            "--plant", str(plant_file), "--budget-min", budget, "--by", BY,
        ]  # fmt: skip

    return command


def missing_packages() -> str:
    """What to install before anything can be trained here; "" where everything is there."""
    lacking = [name for name in ("torch", "onnxruntime") if find_spec(name) is None]
    if not lacking:
        return ""
    return (
        f"{', '.join(lacking)} not installed: `make setup-train` installs what training needs (9 GB of disk); "
        "until then requests for training wait, and trials go on"
    )
