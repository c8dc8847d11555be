"""A line of one camera whose recipe pins a model, and its frames."""

from __future__ import annotations

from schemas.frames import Frame, ImageEncoding
from schemas.plant import Camera, ExternalSource, Line, Plant, Station
from schemas.recipes import DefectClass, ModelPin, Recipe, SegmenterInspection, View


def plant(pin: ModelPin) -> Plant:
    camera = Camera(name="top", views=("top",), source=ExternalSource())
    recipe = Recipe(
        name="r",
        views=(View(name="top"),),
        inspection=SegmenterInspection(model=pin),
        classes=(DefectClass(name="open"),),
    )
    return Plant(
        plant="p", lines=(Line(name="l", stations=(Station(name="cut", cameras=(camera,)),)),), recipes=(recipe,)
    )


def frame(part: str) -> Frame:
    return Frame(
        id=f"top/s/{part}", station="cut", camera="top", view="top", session="s", sequence=1, part_id=part, visit=1,
        recipe="r@1", captured_at_ns=1, encoding=ImageEncoding.PNG, width_px=1, height_px=1, size_bytes=1, sha256="00",
    )  # fmt: skip
