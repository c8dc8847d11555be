"""What the simulated line makes while its model learns: small lots with one bad board each, and a lamp that fails at a stated part.

Unlike in `scenario`, nothing but the light changes: what a model then does worse, and better once it has learned, is the light's doing.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from simulation.defects import DefectKind
from simulation.scenario import PlannedPart

LOT_PARTS = 3
"""Boards of a lot, one of which is bad: any stretch of the run has the same share. Datasets keep a lot on one side."""
KINDS = (DefectKind.OPEN, DefectKind.SHORT)
"""Copper that is missing and copper that is too much: two classes are learned from the parts of some minutes, six are not."""
SECOND_DEFECT_SHARE = 0.25
"""Share of bad parts that have two defects."""
RAMP_PARTS = 12
"""Over so many parts the light falls; then it stays."""
FAILED_RATIO = 1.2
"""How far the lamp is gone in the end; 1 is the end of the ageing in `scenario`. It lost three tenths of its light, one side is darker,
and stray light lies over everything."""


def learning_plan(*, parts: int, seed: int, recipes: Sequence[str], lamp_fails_at: int) -> Iterator[PlannedPart]:
    """At most `parts` parts in the order in which they come; lots take the recipes in turn. The lamp begins to fail at part
    `lamp_fails_at`, counted from 0. One at a time: how many will be needed is not known before.

    Raises:
        ValueError: no part, no recipe, or a lamp that fails before the first part.
    """
    if parts < 1 or not recipes or lamp_fails_at < 0:
        raise ValueError(
            f"expected at least one part and one recipe, and a lamp that fails at part 0 or later; got {parts} parts, "
            f"{len(recipes)} recipes, part {lamp_fails_at}"
        )
    return (_part(number, seed, recipes, lamp_fails_at) for number in range(parts))


def lamp_ratio(number: int, lamp_fails_at: int) -> float:
    """How far the lamp is gone at part `number`: 0 up to `lamp_fails_at`, `FAILED_RATIO` from `RAMP_PARTS` later on."""
    return FAILED_RATIO * min(max((number - lamp_fails_at) / RAMP_PARTS, 0.0), 1.0)


def _part(number: int, seed: int, recipes: Sequence[str], lamp_fails_at: int) -> PlannedPart:
    lot, place = divmod(number, LOT_PARTS)
    rng = np.random.default_rng((seed, lot))
    is_bad = place == int(rng.integers(LOT_PARTS))
    return PlannedPart(
        number=number,
        recipe=recipes[lot % len(recipes)],
        batch=lot + 1,
        defects=_defects(rng) if is_bad else (),
        lighting_drift_ratio=lamp_ratio(number, lamp_fails_at),
    )


def _defects(rng: np.random.Generator) -> tuple[DefectKind, ...]:
    count = 2 if rng.random() < SECOND_DEFECT_SHARE else 1
    return tuple(KINDS[int(index)] for index in rng.integers(len(KINDS), size=count))
