"""`linesight datasets`: freezes labelled pictures, shows and checks what was frozen, and says which frames to label next."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.exits import NotSo
from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.services import find_kafka
from schemas.errors import ConfigurationError
from schemas.plant_file import load_plant

app = typer.Typer(help="Datasets to train and test on.", no_args_is_help=True, rich_markup_mode=None)

Folder = Annotated[Path, typer.Argument(help="Folder that `linesight datasets build` wrote.")]


@app.callback()
def datasets() -> None:
    """Datasets to train and test on."""


@app.command("build")
def build(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not be there.")],
    labels: Annotated[
        Path | None, typer.Option(help="Label file to freeze (docs/models.md); default: the reviews of the plant.")
    ] = None,
    after: Annotated[
        Path | None, typer.Option(help="Earlier dataset: its pictures keep their side of the split.")
    ] = None,
    plant: PlantFile = DEMO_PLANT,
    recipe: Annotated[
        list[str] | None, typer.Option(help="name@revision, of reviews; repeatable; default: all.")
    ] = None,
    labelled_by: Annotated[
        str | None, typer.Option(help="Of rows that do not say it; default: the user logged in.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split.")] = 1,
    json: Json = False,
) -> None:
    """Copies pictures and labels into a folder of their own and splits them into training and test pictures, without a leak."""
    from cli.dataset_sources import add_labels, add_reviews
    from schemas.object_store import open_store
    from schemas.settings import ObjectStoreSettings
    from training.datasets import Draft

    if labels is not None and recipe:
        raise ConfigurationError("--recipe: expected with reviews only; a label file is taken whole")
    with Draft(out) as draft:
        if labels is not None:
            made_from = add_labels(draft, labels, labelled_by=labelled_by or getpass.getuser())
        else:
            description, kafka = load_plant(plant), find_kafka()
            made_from = add_reviews(
                draft,
                plant=description,
                plant_dir=plant.resolve().parent,
                kafka=kafka,
                store=open_store(ObjectStoreSettings()),
                recipes=_recipes(recipe or [], {known.key for known in description.recipes}),
            )
        dataset = draft.freeze(made_from=made_from, after=after, seed=seed, now_ns=time.time_ns())
    if json:
        print_json(dataset)
        return
    print(f"{out}: {dataset.digest}, from {dataset.made_from}")
    for line in _lines(dataset):
        print(line)


@app.command("show")
def show(folder: Folder, json: Json = False) -> None:
    """What a dataset holds: pictures by side and class, what was left out and why, and the dataset before it."""
    from training.datasets import open_dataset

    dataset = open_dataset(folder)
    if json:
        print_json(dataset)
        return
    print(f"{folder}: {dataset.digest}, from {dataset.made_from}")
    for line in _lines(dataset):
        print(line)


@app.command("check")
def check(folder: Folder, json: Json = False) -> None:
    """Looks at every picture again: unchanged, and nothing that belongs together on both sides. Exit code 1 where that is not so."""
    from training.datasets import checked, open_dataset

    dataset, wrong = open_dataset(folder), checked(folder)
    if json:
        print_json({"digest": dataset.digest, "sound": not wrong, "wrong": wrong})
    else:
        print(
            f"{sum(dataset.images.values())} pictures in {dataset.clusters} clusters, "
            f"{dataset.near_duplicates} pairs of near-duplicates kept together"
        )
        for line in wrong:
            print(f"WRONG    {line}")
        print("check: no leak, every picture as it was frozen" if not wrong else f"check: {len(wrong)} findings")
    if wrong:
        raise NotSo(f"{folder} is not what was frozen, or leaks: do not train or test on it; build it again")


@app.command("select")
def select(
    budget: Annotated[int, typer.Option(min=1, help="How many frames a person will look at.")],
    plant: PlantFile = DEMO_PLANT,
    hours: Annotated[
        float, typer.Option(min=0.01, help="Of the newest inspections; frames are kept for 6 hours.")
    ] = 6.0,
    json: Json = False,
) -> None:
    """The frames worth labelling next: uncertain, novel, or contradicted, each with its reason. `linesight review` labels them."""
    from cli.dataset_sources import selected

    description, kafka = load_plant(plant), find_kafka()
    from_ms = int((time.time() - hours * 3600) * 1000)
    rows = selected(plant=description, kafka=kafka, from_ms=from_ms, budget=budget)
    if json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['worth']:<12} {row['part_id']:<20} {row['view']:<12} {row['told']}")
    if not rows:
        print(f"nothing of the last {hours:g} hours is worth a look: no doubts, nothing novel")


def _lines(dataset: Any) -> list[str]:
    lines = [
        f"{side:<8} {count:>6} pictures: " + ", ".join(f"{name} {of}" for name, of in dataset.classes[side].items())
        for side, count in dataset.images.items()
    ]
    lines += [f"left out {count:>6}: {reason}" for reason, count in dataset.left_out.items()]
    if dataset.after:
        lines.append(f"sides kept from {dataset.after}")
    if not dataset.images["test"]:
        lines.append("warning: nothing to test on: all pictures belong together (one part, batch or picture)")
    return lines


def _recipes(asked: list[str], known: set[str]) -> frozenset[str]:
    for key in asked:
        if key not in known:
            raise ConfigurationError(f"--recipe {key}: expected one of {', '.join(sorted(known))}")
    return frozenset(asked)
