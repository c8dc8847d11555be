"""Which frames are worth a person's look next, so that labelling teaches the model something: within a budget, each with its reason.

    uncertain      the score lies beside the one from which a defect counts: the model hardly knows
    disagreeing    a model on trial says otherwise than the one that judges: one of both is wrong
    novel          scored or lit unlike the other frames of its view: perhaps unlike everything that was learned from

The budget goes round the three in turn, each in the order of its own measure, so that no reason crowds out the others. Of a part only
one frame is taken, for the others show the same. What was labelled already is left out. The same frames give the same choice,
whatever their order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from processors.part_state import PartVisit
from schemas.inspections import Inspection
from schemas.plant import Plant
from schemas.reasons import FrameOutcome
from schemas.recipes import Recipe

LEAST_FRAMES = 20
"""Of fewer frames of a view nobody knows what is usual."""

LEAST_NOVELTY = 3.5
"""In robust standard deviations: Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993), for the modified z-score."""

WIDEST_UNCERTAINTY = 0.25
"""Half of the band of scores around the threshold that counts as uncertain."""

_MAD_TO_DEVIATION = 1.4826
_LEAST_SPREAD = 0.01


class Worth(StrEnum):
    """Why a frame is worth labelling."""

    DISAGREEING = "disagreeing"
    UNCERTAIN = "uncertain"
    NOVEL = "novel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A frame to label. `measure` is larger for what is more worth it, and comparable within a reason only; `told` says why."""

    inspection: Inspection
    worth: Worth
    measure: float
    told: str


def chosen(
    inspections: Iterable[Inspection],
    *,
    plant: Plant,
    labelled: Collection[PartVisit],
    contradicted: Mapping[str, str],
    budget: int,
) -> list[Chosen]:
    """At most `budget` frames, the most worth it first. `contradicted` says of inspections, by id, what a model on trial said."""
    frames = _candidates(inspections, plant, labelled)
    ranked = {
        Worth.DISAGREEING: [_disagreeing(each, contradicted[each.id]) for each in frames if each.id in contradicted],
        Worth.UNCERTAIN: [found for each in frames if (found := _uncertain(each, plant)) is not None],
        Worth.NOVEL: _novel(frames),
    }
    queues = [
        iter(sorted(of_worth, key=lambda each: (-each.measure, each.inspection.id))) for of_worth in ranked.values()
    ]
    taken: list[Chosen] = []
    parts: set[PartVisit] = set()
    while queues and len(taken) < budget:
        queue = queues.pop(0)
        found = next((each for each in queue if _visit(each.inspection) not in parts), None)
        if found is not None:
            taken.append(found)
            parts.add(_visit(found.inspection))
            queues.append(queue)
    return taken


def _candidates(inspections: Iterable[Inspection], plant: Plant, labelled: Collection[PartVisit]) -> list[Inspection]:
    """Inspected frames of known recipes whose part nobody labelled; repeated records once."""
    known = {
        each.id: each
        for each in inspections
        if each.outcome is FrameOutcome.INSPECTED
        and each.image_sha256
        and _visit(each) not in labelled
        and plant.recipe(each.recipe) is not None
    }
    return list(known.values())


def _disagreeing(inspection: Inspection, told: str) -> Chosen:
    return Chosen(inspection=inspection, worth=Worth.DISAGREEING, measure=inspection.anomaly_score, told=told)


def _uncertain(inspection: Inspection, plant: Plant) -> Chosen | None:
    """The score that is nearest to the threshold of its class; without defects that of the whole picture."""
    recipe = plant.recipe(inspection.recipe)
    if recipe is None:
        return None
    thresholds = {each.name: each.minimum_score for each in recipe.classes}
    scored = [
        (defect.score, thresholds[defect.class_name])
        for defect in inspection.defects
        if defect.class_name in thresholds
    ] or [(inspection.anomaly_score, _lowest(recipe))]
    score, threshold = min(scored, key=lambda pair: (abs(pair[0] - pair[1]), pair))
    distance = abs(score - threshold)
    if distance > WIDEST_UNCERTAINTY:
        return None
    told = f"score {score:.3f} beside the threshold {threshold:.3f}"
    return Chosen(inspection=inspection, worth=Worth.UNCERTAIN, measure=1.0 - distance, told=told)


def _lowest(recipe: Recipe) -> float:
    return min((each.minimum_score for each in recipe.classes), default=0.5)


def _novel(frames: Sequence[Inspection]) -> list[Chosen]:
    by_view: dict[tuple[str, str], list[Inspection]] = {}
    for each in frames:
        by_view.setdefault((each.recipe, each.view), []).append(each)
    found = []
    for of_view in by_view.values():
        if len(of_view) < LEAST_FRAMES:
            continue
        names, values = _features(of_view)
        deviations = _deviations(values)
        for row, inspection in enumerate(of_view):
            column = int(np.argmax(deviations[row]))
            measure = float(deviations[row, column])
            if measure >= LEAST_NOVELTY:
                usual = float(np.median(values[:, column]))
                told = f"{names[column]} {values[row, column]:.3g}, usually {usual:.3g}: {measure:.1f} deviations off"
                found.append(Chosen(inspection=inspection, worth=Worth.NOVEL, measure=measure, told=told))
    return found


def _features(frames: Sequence[Inspection]) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """What is known of a frame beside its verdict: float64 [n, 6]; how the camera saw counts as usual where nobody measured it."""
    names = ("anomaly score", "sharpness", "grey level", "saturated share", "black share", "shift in px")
    rows = []
    for each in frames:
        seen = each.imaging
        imaging = (
            (1.0, 1.0, 0.0, 0.0, 0.0)
            if seen is None
            else (seen.sharpness_ratio, seen.level_ratio, seen.saturated_ratio, seen.black_ratio, seen.shift_px)
        )
        rows.append((each.anomaly_score, *imaging))
    return names, np.asarray(rows, np.float64)


def _deviations(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distance from the median in robust standard deviations, of each value within its column."""
    middle = np.median(values, axis=0)
    spread = np.median(np.abs(values - middle), axis=0) * _MAD_TO_DEVIATION
    return np.abs(values - middle) / np.maximum(spread, _LEAST_SPREAD)


def _visit(inspection: Inspection) -> PartVisit:
    return PartVisit(inspection.station, inspection.part_id, inspection.visit)
