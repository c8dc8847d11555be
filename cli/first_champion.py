"""The first champion of `linesight demo-learning`: trained on pictures of the simulated line under its new lamp, before any part comes.

It is trained as every other model is (`linesight train`, a child process with one thread), and becomes version 1 of its model in the line's
repository: the version that the recipe pins.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from cli.child_job import linesight, run_job
from schemas.inspection_checks import family_of
from schemas.recipes import PairSegmenterInspection, Recipe, TrainedInspection
from simulation.learning_scenario import learning_plan
from simulation.pictures import take_pictures
from training.laid_pairs import LaidReferences
from training.release import add_version, read_candidate

FIRST_VERSION = 1
DRAWN_PARTS = 150
SEED_APART = 1_000_003
"""Added to the run's seed: the parts that are learned from are not those that come."""
_OVERTIME = 2.0
_OVERTIME_S = 240.0
"""So much longer than its budget may training take before it counts as hung."""

Say = Callable[[str], None]


def train_first_champion(
    *, recipe: Recipe, plant_dir: Path, folder: Path, repository: Path, budget_min: float, seed: int, say: Say
) -> Path:
    """Draws pictures, trains, and puts version 1 into `repository`; returns its folder there.

    Raises JobFailed with what training said last, and ConfigurationError where the repository has that version already.
    """
    inspection = recipe.inspection
    assert isinstance(inspection, TrainedInspection), "checked with the plant file"
    name = inspection.model.name
    say(f"drawing {DRAWN_PARTS} boards to learn from")
    labels = draw_labelled(
        recipe=recipe, plant_dir=plant_dir, folder=folder / "drawn", parts=DRAWN_PARTS, seed=seed + SEED_APART
    )
    say(f"training the first champion for {budget_min:g} min: one thread, nice")
    out = folder / name
    run_job(
        linesight(
            "train", "--labels", str(labels), "--family", family_of(inspection), "--out", str(out),
            "--budget-min", f"{budget_min:g}", "--seed", str(seed),
        ),
        limit_s=budget_min * 60 * _OVERTIME + _OVERTIME_S,
    )  # fmt: skip
    candidate = read_candidate(out)
    say(f"first champion: {candidate.digest}")
    return add_version(repository, name, candidate, FIRST_VERSION)


def draw_labelled(*, recipe: Recipe, plant_dir: Path, folder: Path, parts: int, seed: int) -> Path:
    """Writes pictures of boards under a lamp that does not fail, with their references as the line lays them; returns the label file
    beside them."""
    cv2.setNumThreads(1)
    folder.mkdir(parents=True)
    laid = LaidReferences()
    rows = []
    for part in learning_plan(parts=parts, seed=seed, recipes=[recipe.key], lamp_fails_at=parts):
        taken = take_pictures(recipe, defects=part.defects, lighting_drift_ratio=0.0, seed=(seed, part.number))
        for view in recipe.views:
            picture = folder / f"{part.number:04d}-{view.name}.jpg"
            picture.write_bytes(taken.jpegs[view.name])
            boxes = [[*defect.box, defect.kind.value] for defect in taken.defects if defect.view == view.name]
            row: dict[str, Any] = {"image": picture.name, "group": f"lot-{part.batch}", "boxes": boxes}
            inspection = recipe.inspection_of(view)
            if view.reference and isinstance(inspection, PairSegmenterInspection):
                under = laid.laid(picture.read_bytes(), (plant_dir / view.reference).read_bytes(), inspection)
                assert under is not None, "a simulated part lies within the limits of the plant file"
                reference = picture.with_suffix(".reference.png")
                reference.write_bytes(under)
                row["reference"] = reference.name
            rows.append(row)
    labels = folder / "labels.jsonl"
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return labels
