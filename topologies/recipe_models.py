"""The models that a recipe pins, as the inference server is asked for them."""

from __future__ import annotations

import numpy as np

from processors.golden.crops import CROP_PX
from processors.learned.answers import CLASS_OUTPUTS, MAP_OUTPUTS
from schemas.recipes import ClassifierInspection, GoldenInspection, Recipe, ViewInspection
from topologies.triton import Model


def models_of(recipe: Recipe) -> tuple[Model, ...]:
    """Of all its views, each once, with an input on which it must work."""
    models = {model.pin: model for inspection in recipe.inspections for model in models_for(inspection)}
    return tuple(models.values())


def models_for(inspection: ViewInspection) -> tuple[Model, ...]:
    """Of one kind of inspection, each with an input on which it must work."""
    match inspection:
        case GoldenInspection():
            picture = np.zeros((1, 1, 64, 64), np.uint8)
            crops = np.zeros((1, 2, CROP_PX, CROP_PX), np.uint8)
            compared = {"image": picture, "reference": picture}
            return (
                Model(pin=inspection.compare, outputs=("difference",), known=compared),
                Model(pin=inspection.classifier, outputs=("probabilities",), known={"crops": crops}),
            )
        case ClassifierInspection():
            return (Model(pin=inspection.model, outputs=CLASS_OUTPUTS),)
        case _:
            return (Model(pin=inspection.model, outputs=MAP_OUTPUTS),)
