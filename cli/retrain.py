"""`linesight retrain`: answers a request for training: freezes the reviews, trains, compares, and releases what passes the gates."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from cli.exits import NotSo
from cli.model_log import read_registry
from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.run_folder import only_run
from cli.services import find_kafka
from cli.train import require
from processors.model_runs import next_trigger
from schemas.errors import ConfigurationError
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.records import ModelChange
from schemas.settings import KafkaSettings, StageSettings
from schemas.topics import RETRAINING


def command(
    model: Annotated[str, typer.Argument(help="Name of the model, as recipes pin it.")],
    plant: PlantFile = DEMO_PLANT,
    now: Annotated[bool, typer.Option("--now", help="Train although nothing on `retraining` asks for it.")] = False,
    budget_min: Annotated[float, typer.Option(min=0.05, help="Minutes to train.")] = 20.0,
    by: Annotated[str | None, typer.Option(help="Who trains; default: the user logged in.")] = None,
    json: Json = False,
) -> None:
    """One training run with the reviews of the plant, its steps on `models`. A run that was cut off is taken up.

    Exit code 1 where nothing asks for it, or where the run ends without a version: the gates say why. A version that is released judges
    no part yet.
    """
    from cli.training_run import Task, TrainingRun, trained_pin

    require("torch")
    require("onnxruntime")
    description = load_plant(plant)
    found = trained_pin(description, model)
    if found is None:
        raise ConfigurationError(
            f"{model}: expected a model that a recipe pins under a family of `linesight train`; others are not trained by this command"
        )
    kafka, folder = find_kafka(), StageSettings().run_dir / "training"
    family, recipes, pinned = found
    task = Task(
        plant=description,
        plant_file=plant,
        kafka=kafka,
        model=model,
        family=family,
        recipes=recipes,
        pinned=pinned,
        folder=folder,
        budget_min=budget_min,
        by=by or getpass.getuser(),
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    with only_run(folder / model, lock_path=folder / f"{model}.lock"):  # two would train in one folder
        end = TrainingRun(task).go(trigger=request_for(description, kafka, model, now=now))
    if json:
        print_json(end)
    if end.change is not ModelChange.RELEASED:
        raise NotSo(f"{model}: {end.detail}")
    if not json:
        print(f"{model} version {end.version} released: {end.digest}")


def request_for(plant: Plant, kafka: KafkaSettings, model: str, *, now: bool) -> str:
    """The request that a new run answers; "" for one that a person asks for, and where a run is to be taken up."""
    from cli.following import Follower

    state = read_registry(plant, kafka).state(model)
    if state.open_run is not None:
        return ""
    with Follower(plant=plant, settings=kafka, topics=(RETRAINING,), from_beginning=True) as follower:
        triggers = [seen.message for seen in follower.drain() if seen.message is not None]
    waiting = next_trigger(state, triggers)
    if waiting is not None:
        return waiting.id
    if state.candidate is not None:
        raise NotSo(f"{model} version {state.candidate.version} is on trial: promote or reject it first")
    if not now:
        raise NotSo(f"nothing asks for {model} to be trained: --now does it all the same")
    return ""
