"""Regions of a model's map as boxes in px of the original picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from processors.learned.answers import STRIDE, Answer
from processors.learned.form import Picture
from processors.learned.settings import ModelSettings

MOST_REGIONS = 200
_SCORE_PX = 8
_OF_STRONGEST_RATIO = 0.9
"""Around the strongest place, what is at least so strong is shown as its box."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A found region: half-open `box` and `area_px` in px of the picture as it came. `score`, 0 to 1, as the map has it."""

    class_name: str
    box: Box
    score: float
    area_px: float


def regions(answer: Answer, settings: ModelSettings, size_px: tuple[int, int]) -> list[Region]:
    """What the map shows, in a picture whose (width, height) is `size_px`; the largest first, at most 200. None for classifiers."""
    if answer.strength is None or answer.named is None:
        return []
    count, labels, stats = _connected(answer.strength >= settings.map_threshold * 255)
    results = []
    for index in sorted(range(1, count), key=lambda i: -int(stats[i, cv2.CC_STAT_AREA]))[:MOST_REGIONS]:
        x, y, width, height, area = (int(value) for value in stats[index])
        if area * STRIDE**2 < settings.least_area_px:
            break
        place = np.s_[y : y + height, x : x + width]
        inside = labels[place] == index
        values = answer.strength[place][inside]
        score = float(np.sort(values)[-_SCORE_PX:].mean()) / 255
        if score < settings.box_threshold:
            continue
        votes = np.bincount(answer.named[place][inside], weights=values, minlength=len(settings.classes))
        results.append(
            Region(
                class_name=settings.classes[int(votes.argmax())],
                box=_grown((x, y, width, height), settings, size_px),
                score=score,
                area_px=area * (STRIDE / settings.scale) ** 2,
            )
        )
    return results


def strongest_region(answer: Answer, settings: ModelSettings, size_px: tuple[int, int]) -> Region:
    """Where the picture is most suspicious, whatever the thresholds of the map: the whole picture where no map says it."""
    whole = Region(
        class_name=answer.class_name,
        box=(0, 0, *size_px),
        score=answer.score,
        area_px=float(size_px[0] * size_px[1]),
    )
    if answer.strength is None or not answer.strength.any():
        return whole
    most = int(answer.strength.max())
    _, labels, stats = _connected(answer.strength >= most * _OF_STRONGEST_RATIO)
    x, y, width, height, area = (int(v) for v in stats[labels.ravel()[int(np.argmax(answer.strength))]])
    return Region(
        class_name=answer.class_name,
        box=_grown((x, y, width, height), settings, size_px),
        score=answer.score,
        area_px=area * (STRIDE / settings.scale) ** 2,
    )


def _connected(found: npt.NDArray[np.bool_]) -> tuple[int, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    return count, np.asarray(labels, np.int32), np.asarray(stats, np.int32)


def mask(answer: Answer, settings: ModelSettings, size_px: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Places that are a defect, bool [h, w] of the picture."""
    assert answer.strength is not None
    whole: Picture = np.asarray(cv2.resize(answer.strength, size_px, interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.asarray(whole >= settings.map_threshold * 255)


def _grown(place: Box, settings: ModelSettings, size_px: tuple[int, int]) -> Box:
    """A region (x, y, width, height) of the map as a box of the picture."""
    x, y, width, height = place
    factor = STRIDE / settings.scale
    sides = (width * factor / settings.box_share, height * factor / settings.box_share)
    centre = ((x + width / 2) * factor, (y + height / 2) * factor)
    high = [min(max(round(centre[i] + sides[i] / 2), 1), size_px[i]) for i in (0, 1)]
    low = [min(max(round(centre[i] - sides[i] / 2), 0), high[i] - 1) for i in (0, 1)]
    return low[0], low[1], high[0], high[1]
