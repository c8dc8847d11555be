"""`linesight evaluate`: a trained model against labelled pictures."""

from __future__ import annotations

import json as json_text
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json, print_json
from cli.train import require


def command(
    labels: Annotated[Path, typer.Option(help="Label file of pictures that were not trained on (docs/models.md).")],
    model: Annotated[Path, typer.Option(help="Folder that `linesight train` wrote.")],
    out: Annotated[Path | None, typer.Option(help="Rows to write: image, score, class, boxes.")] = None,
    json: Json = False,
) -> None:
    """Scores a trained model on labelled pictures, with onnxruntime alone."""
    require("onnxruntime")
    from schemas.object_store import digest_of
    from training.evaluation import figures, judge
    from training.labels import read_samples
    from training.prediction import Model
    from training.settings import read_settings

    settings = read_settings(model)
    weights = (model / "1" / "model.onnx").read_bytes()
    samples = read_samples(labels)
    judged = []
    with ExitStack() as files:
        rows = files.enter_context(out.open("w")) if out is not None else None
        for image in judge(Model(weights, settings), samples):
            if rows is not None:
                rows.write(json_text.dumps(image.row, ensure_ascii=False) + "\n")
            scored = {key: image.row[key] for key in ("score", "class")}
            judged.append(replace(image, row=scored))  # boxes are written; any number of images fits
    result = {"family": settings.family, "digest": digest_of(weights), **figures(judged)}
    if json:
        print_json(result)
        return
    for name, value in result.items():
        print(f"{name:<20} {json_text.dumps(value, ensure_ascii=False)}")
