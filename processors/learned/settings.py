"""What a trained model says of itself beside its weights, so that the line and `linesight evaluate` do with pictures what training did."""

from __future__ import annotations

import json

import msgspec

from schemas.recipes import LearnedInspection

SETTINGS, DIGEST = "settings", "digest"
"""Parameters of the configuration that Triton serves with the model (`config.pbtxt`), one for all versions; so called in the registry."""

FILE = "model.json"
"""The settings in a trained folder, and in the folder of a released version."""

FAMILIES = ("pair_segmenter", "segmenter", "anomaly", "classifier")
REFERENCED = ("pair_segmenter", "anomaly")
"""Families that may see a reference beside the picture."""

_THRESHOLDS = ("threshold", "map_threshold", "box_threshold")


class ModelSettings(msgspec.Struct, kw_only=True, frozen=True):
    """How the model takes pictures and how its answers are read.

    Attributes:
        scale: factor by which pictures are reduced first.
        box_share: share of the marked boxes' sides that counted as defect; found regions are grown by its inverse.
        least_area_px: a found region that is smaller (at the model's scale) is none.
        map_threshold: strength, 0 to 1, from which a place is a defect.
        box_threshold: score from which a found region is reported.
        threshold: score from which the part is bad.
        size_px: (width, height) of a classifier's input.
    """

    family: str
    classes: list[str]
    colour: bool
    scale: float
    paired: bool
    box_share: float = 1.0
    least_area_px: float = 4.0
    map_threshold: float = 0.5
    box_threshold: float = 0.5
    threshold: float = 0.5
    size_px: tuple[int, int] | None = None


def read_model_settings(text: str | bytes) -> ModelSettings:
    """The settings as `model.json` and the served configuration hold them.

    Raises:
        ValueError: the text is no JSON, or does not say what is needed.
    """
    try:
        settings = msgspec.json.decode(text, type=ModelSettings)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    if settings.family not in FAMILIES or not settings.classes or not 0 < settings.scale <= 1:
        raise ValueError(
            f"expected a family of {', '.join(FAMILIES)}, at least one class and a scale above 0 and up to 1, got "
            f"{settings.family!r}, {settings.classes} and {settings.scale:g}"
        )
    if (settings.paired and settings.family not in REFERENCED) or (settings.size_px is None) is (
        settings.family == "classifier"
    ):
        raise ValueError(
            f"expected `paired` of {' and '.join(REFERENCED)} only, and a `size_px` of a classifier and of no other, got "
            f"{settings.family} with paired {settings.paired} and size_px {settings.size_px}"
        )
    return settings


def served_parameters(settings: ModelSettings, *, version: int, digest: str) -> str:
    """Lines of `config.pbtxt` that tell of one version what its settings and its weights' digest (`sha256:<hex>`) are.

    A line that asks a server on another machine does not see the model's folder; it reads them from the configuration. Where it follows
    the registry, it reads them there, and the configuration stays as it is: the server starts every version anew when parameters change.
    """
    # JSON in ASCII, twice: what JSON escapes in a string, protobuf's text format does as well
    values = {SETTINGS: json.dumps(json.dumps(msgspec.to_builtins(settings))), DIGEST: json.dumps(digest)}
    return "".join(
        f'parameters {{ key: "{name}/{version}" value {{ string_value: {value} }} }}\n'
        for name, value in values.items()
    )


def as_recipe_says(settings: ModelSettings, inspection: LearnedInspection) -> ModelSettings:
    """The settings with the thresholds that a recipe gives in place of the model's own."""
    said = {name: getattr(inspection, name, None) for name in _THRESHOLDS}
    return msgspec.structs.replace(settings, **{name: value for name, value in said.items() if value is not None})
