"""What a recipe may not say about how its views are inspected."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.plant_yaml import Finding, Place
from schemas.recipes import GoldenInspection, ModelPin, Recipe, TrainedInspection, ViewInspection

RANGES = (
    ("difference_threshold", 1, 255),
    ("minimum_area_px", 0, 1e9),
    ("merge_distance_px", 0, 1000),
    ("box_margin_px", 0, 1000),
    ("minimum_score", 0, 1),
    ("max_candidates", 1, 1000),
    ("max_shift_px", 0, 1000),
    ("max_angle_deg", 0, 45),
    ("minimum_alignment_quality", 0, 1),
    ("max_unexplained_ratio", 0, 1),
    ("threshold", 0, 1),
    ("map_threshold", 0, 1),
    ("box_threshold", 0, 1),
)
"""Of every kind of inspection that has the key."""


def inspection_findings(recipes: tuple[Recipe, ...]) -> Iterator[Finding]:
    """Values that cannot work, a tolerance map that nothing would look at, and a model that is taken for two families."""
    families: dict[ModelPin, str] = {}
    for place, inspection in _inspections(recipes):
        yield from _ranges(inspection, place)
        yield from _pins(inspection, place)
        if isinstance(inspection, TrainedInspection):
            family = family_of(inspection)
            before = families.setdefault(inspection.model, family)
            if before != family:
                model = f"{inspection.model.name}` version {inspection.model.version}"
                yield (*place, "type"), f"`{before}`, as elsewhere: model `{model} is of one family", None
    for i, recipe in enumerate(recipes):
        for j, view in enumerate(recipe.views):
            if view.tolerance is not None and not isinstance(recipe.inspection_of(view), GoldenInspection):
                expected = "no tolerance map: only `golden` compares with one, a trained model has its thresholds"
                yield ("recipes", i, "views", j, "tolerance"), expected, None


def family_of(inspection: TrainedInspection) -> str:
    """The family as `linesight train --family` names it."""
    return str(inspection.__struct_config__.tag)


def _inspections(recipes: tuple[Recipe, ...]) -> Iterator[tuple[Place, ViewInspection]]:
    for i, recipe in enumerate(recipes):
        yield ("recipes", i, "inspection"), recipe.inspection
        for j, view in enumerate(recipe.views):
            if view.inspection is not None:
                yield ("recipes", i, "views", j, "inspection"), view.inspection


def _ranges(inspection: ViewInspection, place: Place) -> Iterator[Finding]:
    for key, low, high in RANGES:
        value = getattr(inspection, key, None)
        if value is not None and not low <= value <= high:
            yield (*place, key), f"a value from {low:g} to {high:g}", None


def _pins(inspection: ViewInspection, place: Place) -> Iterator[Finding]:
    keys = ("compare", "classifier") if isinstance(inspection, GoldenInspection) else ("model",)
    for key, pin in zip(keys, inspection.models, strict=True):
        if pin.version < 1:
            yield (*place, key, "version"), f"a version from 1 on, not {pin.version}", None
        if not pin.name or "/" in pin.name or pin.name.startswith("."):
            yield (*place, key, "name"), f"the name of a folder in the model repository, not `{pin.name}`", None
