"""Verdicts whose scores move, for the tests of retraining."""

from __future__ import annotations

import random

from judged_parts import MODEL, STATIONS, recipe

from schemas.inspections import Imaging, ModelUse
from schemas.plant import Camera, ExternalSource, Line, Plant, RetrainingSettings, Station
from schemas.reasons import FailSafe, VerdictValue
from schemas.verdicts import Verdict, ViewResult, verdict_id

SETTINGS = RetrainingSettings(
    baseline_views=40,
    window_views=30,
    p_value=0.001,
    minimum_distance=0.5,
    minimum_reviews=8,
    disagreement_ratio=0.25,
    minimum_interval_ms=3_600_000,
)
LEVELS = {"board-a@1": 0.05, "board-b@1": 0.3, "board-c@1": 0.6}
"""Recipes score differently: a change of recipe is no drift."""


def plant_named(name: str = "test", *, settings: RetrainingSettings = SETTINGS) -> Plant:
    return Plant(
        plant=name,
        lines=(
            Line(
                name="line-1",
                stations=tuple(
                    Station(name=s, cameras=(Camera(name=f"{s}-top", views=("top",), source=ExternalSource()),))
                    for s in STATIONS
                ),
            ),
        ),
        recipes=tuple(recipe(key.partition("@")[0]) for key in LEVELS),
        retraining=settings,
    )


def scored(
    number: int,
    *,
    shift: float = 0.0,
    value: VerdictValue = VerdictValue.OK,
    recipe: str = "board-a@1",
    station: str = "aoi-1",
    models: tuple[ModelUse, ...] = (MODEL,),
    brightness: float = 1.0,
    sharpness: float = 1.0,
) -> tuple[str, Verdict]:
    """The line's verdict on part `number`, which has one view. Its score is the recipe's level, some noise, and `shift`; the figures of
    its picture are `brightness` and `sharpness`, with some noise."""
    noise = random.Random(f"{station}/{number}").randint(0, 9) / 100  # coarse, as real scores are: many are equal
    return station, Verdict(
        id=verdict_id(station=station, part_id=str(number), visit=1, revision=1),
        station=station,
        line="line-1",
        part_id=str(number),
        visit=1,
        revision=1,
        verdict=value,
        action=FailSafe.PASS,
        arrived_at_ns=number,
        decided_at_ns=number,
        recipe=recipe,
        views=(
            ViewResult(
                view="top",
                inspection=f"{station}/top/{number}",
                outcome="inspected",
                anomaly_score=min(1.0, LEVELS[recipe] + noise + shift),
                imaging=Imaging(
                    sharpness_ratio=sharpness + random.Random(f"sharp/{number}").gauss(0, 0.02),
                    level_ratio=brightness + random.Random(f"bright/{number}").gauss(0, 0.02),
                    saturated_ratio=0.0,
                    black_ratio=0.0,
                    shift_px=0.5,
                ),
            ),
        ),
        models=models,
    )


def reviewed(
    number: int, value: VerdictValue, *, revision: int = 2, station: str = "aoi-1", recipe: str = "board-a@1"
) -> tuple[str, Verdict]:
    """What the judge makes of a person's label for part `number`."""
    return station, Verdict(
        id=verdict_id(station=station, part_id=str(number), visit=1, revision=revision),
        station=station,
        line="line-1",
        part_id=str(number),
        visit=1,
        revision=revision,
        verdict=value,
        action=FailSafe.PASS,
        arrived_at_ns=number,
        decided_at_ns=number,
        recipe=recipe,
        decided_by="anna",
        models=(MODEL,),
    )
