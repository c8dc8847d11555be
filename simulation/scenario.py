"""What the simulated line makes: batches of three products, a bad batch in the middle, a lamp that ages near the end.

Everything follows from the number of parts and the seed; how many parts of a phase are bad is exact, so that a short
run shows the same phases as a long one.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulation.defects import DefectKind

BASE_DEFECT_RATIO = 0.04
"""Share of bad parts on an ordinary day."""
BAD_BATCH_DEFECT_RATIO = 0.40
BAD_BATCH_KIND = DefectKind.SHORT
"""What most parts of the bad batch suffer from: an etching bath that is spent leaves copper between the tracks."""
BAD_BATCH_KIND_SHARE = 0.75
SECOND_DEFECT_SHARE = 0.25
"""Share of bad parts that have two defects."""
DRIFT_STARTS_AT_RATIO = 0.75
"""Share of the run after which the lamp begins to age."""
DRIFT_RAMP_SHARE = 0.5
"""Share of the drift over which the light falls; for the rest it stays low."""
REWORKED_EVERY = 5
"""One in so many rejected parts is repaired and comes back."""

_BATCH_SHARES = (0.15, 0.15, 0.15, 0.15, 0.15, 0.125, 0.125)
_BAD_BATCH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPart:
    """One part before it is made.

    Attributes:
        number: counts from 0 over the run.
        recipe: `name@revision`.
        batch: the material lot, counted from 1.
        defects: what is wrong with it; empty for a good part.
        lighting_drift_ratio: how far the lamp has aged when it comes: 0 new, 1 the end of this scenario's ageing.
        challenge: the id of a known-bad part that is brought to prove the station; empty for an ordinary part.
    """

    number: int
    recipe: str
    batch: int
    defects: tuple[DefectKind, ...]
    lighting_drift_ratio: float
    challenge: str = ""


def plan(*, parts: int, seed: int, recipes: Sequence[str]) -> tuple[PlannedPart, ...]:
    """The parts of a run in the order in which they come; batches take the recipes in turn.

    Raises:
        ValueError: no part or no recipe.
    """
    if parts < 1 or not recipes:
        raise ValueError(f"expected at least one part and one recipe, got {parts} parts and {len(recipes)} recipes")
    rng = np.random.default_rng(seed)
    batches = _batches(parts)
    bad = _bad_parts(batches, rng)
    return tuple(
        PlannedPart(
            number=number,
            recipe=recipes[batch % len(recipes)],
            batch=batch + 1,
            defects=_defects(batch, rng) if number in bad else (),
            lighting_drift_ratio=lighting_drift_ratio(number, parts),
        )
        for number, batch in enumerate(batches)
    )


def endless_plan(*, parts: int, seed: int, recipes: Sequence[str]) -> Iterator[PlannedPart]:
    """`plan` again and again, each time with the next seed; numbers and batches go on. Raises what `plan` raises."""
    for turn in itertools.count():
        for part in plan(parts=parts, seed=seed + turn, recipes=recipes):
            yield replace(part, number=turn * parts + part.number, batch=turn * len(_BATCH_SHARES) + part.batch)


def lighting_drift_ratio(number: int, parts: int) -> float:
    """How far the lamp has aged at part `number` of `parts`: 0 for three quarters of the run, then up to 1."""
    start = DRIFT_STARTS_AT_RATIO * parts
    ramp = max((parts - start) * DRIFT_RAMP_SHARE, 1.0)
    return float(min(max((number - start) / ramp, 0.0), 1.0))


def comes_back(nth_reject: int, seed: int) -> bool:
    """Whether the `nth_reject` rejected part (from 1) of a run is repaired and inspected again."""
    return (nth_reject + seed) % REWORKED_EVERY == 0


def _batches(parts: int) -> list[int]:
    """The batch of every part, from 0."""
    ends = np.round(np.cumsum(_BATCH_SHARES) * parts).astype(int)
    return [int(np.searchsorted(ends, number, side="right")) for number in range(parts)]


def _bad_parts(batches: Sequence[int], rng: np.random.Generator) -> set[int]:
    ordinary = [number for number, batch in enumerate(batches) if batch != _BAD_BATCH]
    suspect = [number for number, batch in enumerate(batches) if batch == _BAD_BATCH]
    bad: set[int] = set()
    for numbers, ratio in ((ordinary, BASE_DEFECT_RATIO), (suspect, BAD_BATCH_DEFECT_RATIO)):
        chosen = rng.choice(len(numbers), round(ratio * len(numbers)), replace=False)
        bad.update(numbers[int(index)] for index in chosen)
    return bad


def _defects(batch: int, rng: np.random.Generator) -> tuple[DefectKind, ...]:
    count = 2 if rng.random() < SECOND_DEFECT_SHARE else 1
    kinds = list(DefectKind)
    if batch == _BAD_BATCH:
        others = (1 - BAD_BATCH_KIND_SHARE) / (len(kinds) - 1)
        shares = [BAD_BATCH_KIND_SHARE if kind is BAD_BATCH_KIND else others for kind in kinds]
    else:
        shares = [1 / len(kinds)] * len(kinds)
    return tuple(kinds[int(index)] for index in rng.choice(len(kinds), count, p=shares))
