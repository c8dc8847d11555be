"""`linesight demo-learning`: a line whose lamp fails, and which learns the new light by itself while parts keep coming."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json, PlantFile, print_json
from cli.train import require
from schemas.errors import ConfigurationError
from schemas.plant import Plant
from schemas.recipes import Recipe, TrainedInspection
from schemas.settings import StageSettings, TritonSettings

LEARNING_PLANT = Path("plants/learning.yaml")
SENSOR_STAGES = ("sensor-gateway", "sensors")


def command(
    plant: PlantFile = LEARNING_PLANT,
    rate: Annotated[float, typer.Option(min=0.01, help="Parts per second.")] = 1.5,
    lamp_fails_at: Annotated[
        int, typer.Option(min=30, help="The part, counted from 0, at which the light falls.")
    ] = 90,
    champion_min: Annotated[float, typer.Option(min=0.1, help="Minutes to train the first champion.")] = 2.0,
    limit_min: Annotated[
        float, typer.Option(min=1.0, help="Minutes after which the line stops, whatever came of it.")
    ] = 25.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same parts and defects.")] = 1,
    report: Annotated[Path | None, typer.Option(help="Where report.json goes; report.html goes beside it.")] = None,
    json: Json = False,
) -> None:
    """Trains a first champion, starts the line, lets its lamp fail, and looks on: drift, request, training, shadow, canary, promotion.

    Ends with run/report-learning.json and .html. Exit code 1 unless a version that was trained meanwhile was promoted and judges better,
    with no frame dropped and no verdict late. Needs torch (`make setup-train`).
    """
    require("torch")
    require("onnxruntime")
    from rich.console import Console

    from cli.demo_run import DemoRun, say_with_time
    from cli.exits import NotSo
    from cli.first_champion import train_first_champion
    from cli.learning_run import learn
    from cli.learning_text import print_learning
    from cli.report_files import write_reports
    from cli.run_folder import fresh_run_folder
    from cli.simulated_plant import choose_ports
    from cli.summary_text import print_summary
    from schemas.plant_file import load_plant

    choose_ports()
    description = load_plant(plant)
    recipe, model = learning_recipe(description)
    base = StageSettings().run_dir
    console = Console(stderr=True)
    say = say_with_time(console)
    with fresh_run_folder(base / "demo-learning") as run_dir:
        os.environ.setdefault("OBJECT_STORE_URL", str(run_dir.absolute() / "objects"))
        os.environ.setdefault("TRITON_TRAINED_MODELS", str(run_dir.absolute() / "models"))
        train_first_champion(
            recipe=recipe,
            plant_dir=plant.resolve().parent,
            folder=run_dir / "first-champion",
            repository=TritonSettings().trained_models,
            budget_min=champion_min,
            seed=seed,
            say=say,
        )
        without = () if description.assets else SENSOR_STAGES
        with DemoRun(plant=description, plant_file=plant, run_dir=run_dir, say=say, without=without) as run:
            outcome = learn(
                run,
                model=model,
                rate_per_s=rate,
                seed=seed,
                lamp_fails_at=lamp_fails_at,
                limit_s=limit_min * 60,
                say=say,
            )
            file = report or base / "report-learning.json"
            write_reports(file, outcome)
    if json:
        print_json(outcome.report)
    else:
        print_summary(console, outcome.report, file)
        print_learning(console, outcome.report["learning"])
    if short := outcome.report["learning"]["fell_short"]:
        raise NotSo(f"{'; '.join(short)}: see {file}")


def learning_recipe(plant: Plant) -> tuple[Recipe, str]:
    """The one recipe of a line that learns, and the model that it follows. Raises ConfigurationError for a plant file of another kind."""
    if plant.learning is None or len(plant.recipes) != 1:
        raise ConfigurationError(
            f"{plant.plant}: expected a plant file with a section `learning` and one recipe, as {LEARNING_PLANT}"
        )
    recipe = plant.recipes[0]
    inspection = recipe.inspection
    if not isinstance(inspection, TrainedInspection) or not inspection.model.follow or inspection.model.version != 1:
        raise ConfigurationError(
            f"recipe {recipe.key}: expected an inspection of a family of `linesight train` whose model says "
            "`version: 1, follow: true`: version 1 is trained here, and its successors are followed"
        )
    return recipe, inspection.model.name
