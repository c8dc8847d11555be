"""`linesight train`: from labelled pictures to a model."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import psutil
import typer

from cli.options import Json, print_json
from schemas.errors import ConfigurationError


def command(
    labels: Annotated[Path, typer.Option(help="Label file: one JSON object a line (docs/models.md).")],
    family: Annotated[str, typer.Option(help="pair_segmenter, segmenter, anomaly or classifier.")],
    out: Annotated[Path, typer.Option(help="Model folder to write; Triton serves it under the folder's name.")],
    budget_min: Annotated[float, typer.Option(min=0.05, help="Minutes until the model is written.")] = 20.0,
    escape_cost: Annotated[float, typer.Option(min=0, help="Cost of a bad part that passes.")] = 10.0,
    overkill_cost: Annotated[float, typer.Option(min=0, help="Cost of a good part that is rejected.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the weights at the start, and the order.")] = 1,
    simulate_defects: Annotated[
        str | None,
        typer.Option(help="Bare boards: learn from good ones with drawn defects; their copper is `dark` or `light`."),
    ] = None,
    check_split: Annotated[bool, typer.Option(help="Only read the labels and show the split.")] = False,
    json: Json = False,
) -> None:
    """Trains a model from labelled pictures, and proves it on groups it has not seen."""
    if check_split:
        _show_split(labels, seed)
        return
    require("torch")
    require("onnxruntime")
    from training.train import train_model

    card = train_model(
        labels,
        family,
        out,
        budget_s=budget_min * 60,
        escape_cost=escape_cost,
        overkill_cost=overkill_cost,
        seed=seed,
        say=lambda line: print(line, file=sys.stderr, flush=True),
        simulate_copper=simulate_defects,
        begun_at_s=time.monotonic() - (time.time() - psutil.Process().create_time()),  # loading torch counts too
    )
    if json:
        print_json(card)
        return
    threshold = card["metrics"]["threshold"]
    print(f"{out}: {card['digest']}, {card['size_bytes']} bytes")
    print(
        f"validation: {threshold['good']} good parts, {threshold['overkill']} rejected; {threshold['bad']} bad, "
        f"{threshold['escapes']} passed; threshold {threshold['value']:.4f} ({threshold['rule']})"
    )


def require(package: str) -> None:
    """Refuses, with what to do, where a package of the `train` extra is missing."""
    if find_spec(package) is None:
        raise ConfigurationError(
            f"{package} is not installed: `make setup-train` installs what training and evaluation need (9 GB of disk)"
        )


def _show_split(labels: Path, seed: int) -> None:
    from training.labels import read_samples
    from training.splits import split

    for line in split(read_samples(labels), seed=seed).lines():
        print(line)
