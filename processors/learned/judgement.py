"""From a model's answer to the defects of a frame.

The model decides whether the picture is bad: a score of at least its threshold, or of the recipe's in its place. A bad picture has
at least one defect, a good one none. A score of 0.5 in what comes out is the model's own limit, so that the default of a recipe's
classes (`minimum_score: 0.5`) takes its decision as it is, and a class may ask for more.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from processors.learned.answers import Answer
from processors.learned.regions import Region, regions, strongest_region
from processors.learned.settings import ModelSettings
from schemas.inspections import Defect

HEAT_MAP_PX = 64
"""The longer side of a heat map is at most this: uncompressed 4 kB, as PNG a few hundred bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """`anomaly_score`: 0.5 and above is bad. `heat_map`: PNG, grey, laid over the whole frame; None of good pictures and classifiers."""

    defects: tuple[Defect, ...]
    anomaly_score: float
    heat_map: bytes | None = None


def judged_good(score: float, settings: ModelSettings) -> Judgement | None:
    """The judgement of a picture whose score stays below the threshold: there is nothing to look for. Else None."""
    if score >= settings.threshold:
        return None
    return Judgement(defects=(), anomaly_score=against(score, settings.threshold))


def judged(answer: Answer, settings: ModelSettings, size_px: tuple[int, int]) -> Judgement:
    """The defects in px of the frame, whose (width, height) is `size_px`; most certain first."""
    good = judged_good(answer.score, settings)
    if good is not None:
        return good
    score = against(answer.score, settings.threshold)
    found = [
        _defect(region, against(region.score, settings.box_threshold)) for region in regions(answer, settings, size_px)
    ]
    if not found:
        # the picture is bad by its score, though no region is strong or large enough by itself
        found = [_defect(strongest_region(answer, settings, size_px), score)]
    return Judgement(
        defects=tuple(sorted(found, key=lambda defect: -defect.score)),
        anomaly_score=score,
        heat_map=None if answer.strength is None else heat_map(answer.strength),
    )


def against(score: float, threshold: float) -> float:
    """A score, 0 to 1, on the scale on which the threshold is 0.5: linear below it, and above."""
    if score < threshold:
        return 0.5 * score / threshold
    return 0.5 + (0.5 * (score - threshold) / (1 - threshold) if threshold < 1 else 0.0)


def heat_map(strength: npt.NDArray[np.uint8]) -> bytes:
    """PNG, grey, at most 64 px a side, of a map uint8 [h, w]. Each px is the strongest of those that it stands for: small defects stay."""
    height, width = strength.shape
    step = max(1, -(-max(height, width) // HEAT_MAP_PX))
    rows, columns = np.arange(0, height, step), np.arange(0, width, step)
    small = np.maximum.reduceat(np.maximum.reduceat(strength, rows, 0), columns, 1)
    return bytes(cv2.imencode(".png", small)[1].tobytes())


def _defect(region: Region, score: float) -> Defect:
    return Defect(class_name=region.class_name, score=score, box=region.box, area_px=region.area_px)
