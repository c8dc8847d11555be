"""One training run, from a request to a released version: data frozen, trained, compared with the version that judges parts, gated.

Every step is a child process and then a record on `models` with its audit event. A run that was cut off, by a kill or a power cut, is taken
up where the topic says that it was: what lies in its folder is not made again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.child_job import JobDone, JobFailed, linesight, run_job
from cli.model_log import now_ns, read_registry, write_step
from cli.release import released
from processors.model_gates import Figures, GateRules, gates
from processors.model_runs import PROGRESS
from processors.model_state import PIN, ModelState, RunState, RunStep
from schemas.errors import ConfigurationError
from schemas.inspection_checks import family_of
from schemas.plant import Plant
from schemas.recipes import TrainedInspection
from schemas.records import Gate, ModelChange, ModelEvent, run_event_id, run_id
from schemas.settings import KafkaSettings, TritonSettings
from training.datasets import MANIFEST, open_dataset
from training.release import CARD, PARITY, WEIGHTS
from training.settings import FILE

DATASET = "dataset"
BUILD_LIMIT_S = 3_600.0
EVALUATE_LIMIT_S = 3_600.0
PROGRESS_EVERY_S = 15.0
_EXPORT_SHARE = 1.5
_EXPORT_S = 300.0
"""Training may take its budget this much longer, and this much besides, before it counts as hung."""

Train = Callable[[Path, Path], Sequence[str]]
"""The command that trains: from a label file into a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be trained: the model that these recipes pin, of this family; `pinned` judges parts where no champion does."""

    plant: Plant
    plant_file: Path
    kafka: KafkaSettings
    model: str
    family: str
    recipes: tuple[str, ...]
    pinned: int
    folder: Path
    budget_min: float
    by: str
    say: Callable[[str], None]


def trained_pin(plant: Plant, model: str) -> tuple[str, tuple[str, ...], int] | None:
    """Family, recipes and lowest pinned version of a model that `linesight train` can make; None where no recipe has one such."""
    found = [
        (recipe.key, inspection)
        for recipe in plant.recipes
        for inspection in recipe.inspections
        if isinstance(inspection, TrainedInspection) and inspection.model.name == model
    ]
    if not found:
        return None
    recipes = tuple(dict.fromkeys(key for key, _ in found))
    return family_of(found[0][1]), recipes, min(each.model.version for _, each in found)


class TrainingRun:
    """A run as it goes on. `train` makes the command of the child that trains."""

    def __init__(self, task: Task, *, train: Train | None = None) -> None:
        self._task = task
        self._train = train or self._own_train

    def go(self, *, trigger: str) -> ModelEvent:
        """Begins a run, or takes up the open one, and goes through to its end; returns its last record: `released` or `run_ended`."""
        state = self._state()
        run = state.open_run
        if run is None:
            started = now_ns()
            name = run_id(model=self._task.model, started_at_ns=started)
            self._note(ModelChange.RUN_STARTED, name, trigger=trigger, at_ns=started)
            run = self._run(name)
        self._task.say(f"{run.run}: {run.step}, in {self._home(run)}")
        try:
            return self._to_the_end(run)
        except JobFailed as failed:
            return self._note(ModelChange.RUN_ENDED, run.run, detail=str(failed))

    def _to_the_end(self, run: RunState) -> ModelEvent:
        home = self._home(run)
        self._freeze(run, home)
        dataset = open_dataset(home / DATASET)
        if run.dataset and dataset.digest != run.dataset:
            return self._note(ModelChange.RUN_ENDED, run.run, detail=f"what was frozen is not in {home} any more")
        if not dataset.images["test"]:
            return self._note(
                ModelChange.RUN_ENDED, run.run, detail="nothing to test on: all labelled pictures belong together"
            )
        self._learn(run, home)
        found = self._compare(run, home)
        if not all(gate.passed for gate in found):
            stopped = ", ".join(gate.name for gate in found if not gate.passed)
            return self._note(ModelChange.RUN_ENDED, run.run, detail=f"not released: {stopped}")
        try:
            return released(
                home / self._task.model,
                model=self._task.model,
                dataset=home / DATASET,
                repositories=TritonSettings().repositories,
                plant=self._task.plant,
                kafka=self._task.kafka,
                by=self._task.by,
                run=run.run,
                gates=found,
            )
        except ConfigurationError as refused:  # Triton cannot serve it, or it is no version of this model
            return self._note(ModelChange.RUN_ENDED, run.run, detail=str(refused))

    # --- steps -------------------------------------------------------------------------------------------------------

    def _freeze(self, run: RunState, home: Path) -> None:
        out = home / DATASET
        if not out.exists():
            home.mkdir(parents=True, exist_ok=True)
            recipes = [word for key in self._task.recipes for word in ("--recipe", key)]
            before = self._dataset_before(home)
            after = ["--after", str(before)] if before else []
            self._job(
                linesight(
                    "datasets", "build", "--plant", str(self._task.plant_file), "--out", str(out), *recipes, *after
                ),
                limit_s=BUILD_LIMIT_S,
            )
        if run.step is RunStep.STARTED:
            dataset = open_dataset(out)
            detail = f"{dataset.images['train']} to train, {dataset.images['test']} to test"
            self._note(ModelChange.DATA_FROZEN, run.run, dataset=dataset.digest, detail=detail)

    def _learn(self, run: RunState, home: Path) -> None:
        out = home / self._task.model
        if (out / WEIGHTS).exists():
            return
        budget_s = self._task.budget_min * 60

        def tick(spent_s: float) -> None:
            self._note(ModelChange.TRAINING, run.run, figures={PROGRESS: min(spent_s / budget_s, 0.99)})

        self._job(
            self._train(home / DATASET / "train.jsonl", out), limit_s=budget_s * _EXPORT_SHARE + _EXPORT_S, tick=tick
        )

    def _compare(self, run: RunState, home: Path) -> tuple[Gate, ...]:
        """Candidate and champion on the same test pictures. Of a run that was evaluated already the gates that were noted then."""
        known = self._run(run.run)
        if known.step is RunStep.EVALUATED:
            return known.gates
        out = home / self._task.model
        parity = json.loads((out / CARD).read_bytes())["metrics"][PARITY]
        candidate = self._measured(home, out, parity=parity)
        champion = self._champion(home)
        beside = None if champion is None else self._measured(home, champion, parity=0.0)
        found = gates(candidate, beside, GateRules())
        figures = {f"candidate/{name}": value for name, value in _numbers(candidate).items()}
        figures |= {f"champion/{name}": value for name, value in _numbers(beside).items()} if beside else {}
        self._note(ModelChange.EVALUATED, run.run, figures=figures, gates=found)
        return found

    def _measured(self, home: Path, model: Path, *, parity: float) -> Figures:
        labels = str(home / DATASET / "test.jsonl")
        done = self._job(
            linesight("evaluate", "--labels", labels, "--model", str(model), "--json"), limit_s=EVALUATE_LIMIT_S
        )
        told: dict[str, Any] = json.loads(done.output)
        return Figures(
            good=told["good"],
            bad=told["bad"],
            escapes_ratio=told["escapes"]["share"],
            overkill_ratio=told["overkill"]["share"],
            f1_by_class=told.get("f1_by_class", {}),
            cpu_ms_per_image=done.cpu_s * 1000 / max(told["images"], 1),
            parity=parity,
        )

    def _champion(self, home: Path) -> Path | None:
        """The version that judges parts, as a folder that `evaluate` takes; None where its files are not on this machine."""
        version = self._state().champion
        number = self._task.pinned if version == PIN else version
        for repository in TritonSettings().repositories:
            source = repository / self._task.model
            settings = next((path for path in (source / str(number) / FILE, source / FILE) if path.exists()), None)
            weights = source / str(number) / WEIGHTS.name
            if settings is not None and weights.exists():
                out = home / "champion"
                (out / WEIGHTS).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(weights, out / WEIGHTS)
                shutil.copyfile(settings, out / FILE)
                return out
        self._task.say(f"version {number} of {self._task.model} is not in a repository here: gates are absolute")
        return None

    # --- the log -----------------------------------------------------------------------------------------------------

    def _note(self, change: ModelChange, run: str, *, at_ns: int | None = None, **more: Any) -> ModelEvent:
        at_ns = at_ns or now_ns()
        event = ModelEvent(
            id=run_event_id(run=run, change=change, at_ns=at_ns),
            model=self._task.model,
            version=0,
            digest="",
            change=change,
            at_ns=at_ns,
            by=self._task.by,
            run=run,
            **more,
        )
        write_step(self._task.plant, self._task.kafka, event)
        self._task.say(" ".join(word for word in (change, event.detail, *map(_told, event.gates)) if word))
        return event

    def _state(self) -> ModelState:
        return read_registry(self._task.plant, self._task.kafka).state(self._task.model)

    def _run(self, name: str) -> RunState:
        return self._state().runs[name]

    def _home(self, run: RunState) -> Path:
        return self._task.folder / self._task.model / str(run.started_at_ns)

    def _dataset_before(self, home: Path) -> Path | None:
        """The newest dataset of an earlier run: its pictures keep their side."""
        earlier = [path.parent for path in home.parent.glob(f"*/{DATASET}/{MANIFEST}") if path.parent.parent != home]
        return max(earlier, key=lambda path: int(path.parent.name), default=None)

    def _job(self, command: Sequence[str], **more: Any) -> JobDone:
        return run_job(command, every_s=PROGRESS_EVERY_S, **more)

    def _own_train(self, labels: Path, out: Path) -> Sequence[str]:
        budget = f"{self._task.budget_min:g}"
        return linesight(
            "train", "--labels", str(labels), "--family", self._task.family, "--out", str(out), "--budget-min", budget
        )


def _numbers(figures: Figures) -> dict[str, float]:
    told = {
        "good": figures.good,
        "bad": figures.bad,
        "escapes_ratio": figures.escapes_ratio,
        "overkill_ratio": figures.overkill_ratio,
        "cpu_ms_per_image": figures.cpu_ms_per_image,
        **{f"f1_ratio/{name}": value for name, value in figures.f1_by_class.items()},
    }
    return {name: float(value) for name, value in told.items() if value is not None}


def _told(gate: Gate) -> str:
    return f"{gate.name} {gate.value:.4g} (limit {gate.limit:.4g})" + ("" if gate.passed else " NOT PASSED")
