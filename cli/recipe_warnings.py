"""What a recipe says that is allowed and does nothing: classes that its classifier never finds, a revision that nobody wrote down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from processors.golden.classes import DEFECT_CLASSES
from schemas.plant import Plant
from schemas.plant_shape import nearest
from schemas.plant_yaml import Finding
from schemas.recipes import GoldenInspection, Recipe

BARE_BOARDS = "defect_classifier"
"""The classifier that comes with Linesight; what another one finds is not known here."""


def recipe_warnings(plant: Plant, data: dict[str, Any]) -> Iterator[Finding]:
    """`data` is the plant file as it was written, with the files that it names."""
    for i, recipe in enumerate(plant.recipes):
        if "revision" not in data["recipes"][i]:
            expected = (
                f"the key `revision`: {recipe.revision} is taken, and whoever changes the recipe has to count it up"
            )
            yield ("recipes", i), expected, None
        if not _only_bare_boards(recipe):
            continue
        for j, defect in enumerate(recipe.classes):
            if defect.name not in DEFECT_CLASSES:
                expected = (
                    f"a class that {BARE_BOARDS} finds ({', '.join(DEFECT_CLASSES)}); `{defect.name}` never comes"
                )
                yield ("recipes", i, "classes", j, "name"), expected, nearest(defect.name, DEFECT_CLASSES)


def _only_bare_boards(recipe: Recipe) -> bool:
    inspections = [recipe.inspection_of(view) for view in recipe.views]
    return all(isinstance(each, GoldenInspection) and each.classifier.name == BARE_BOARDS for each in inspections)
