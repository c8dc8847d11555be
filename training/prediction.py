"""A trained model as a function of a picture of any size. onnxruntime only, no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from processors.scoring import Finding
from training.labels import GOOD, Sample
from training.local_inference import open_model
from training.pictures import Form, Picture
from training.resized_picture import resized
from training.settings import ModelSettings

TILE_PX = 1024
_OVERLAP_PX = 64
_MULTIPLE_PX = 16
_STRIDE = 2
_SCORE_PX = 8
_MOST_FINDINGS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model says of a picture. `strength` and `named`, uint8 [h / 2, w / 2] at the model's scale, are None for classifiers."""

    score: float
    class_name: str
    strength: Picture | None = None
    named: Picture | None = None


class Model:
    """Weights and settings of a trained model."""

    def __init__(self, weights: Path | bytes, settings: ModelSettings) -> None:
        self._session = open_model(weights)
        self.settings = settings
        self.form = Form(colour=settings.colour, scale=settings.scale, paired=settings.paired)

    def __call__(self, sample: Sample) -> Answer:
        """Answers for one picture; large ones are seen in overlapping tiles."""
        picture = self.form.load(sample)
        return self._classified(picture) if self.settings.size_px else self._mapped(picture)

    def _classified(self, picture: Picture) -> Answer:
        assert self.settings.size_px is not None
        inputs = resized(picture, self.settings.size_px)[None]
        score, probabilities = self._session.run(["score", "probabilities"], {"image": inputs})
        bad = 1 + int(np.argmax(probabilities[0, 1:]))
        return Answer(score=float(score[0, 0]), class_name=self.settings.classes[bad])

    def _mapped(self, picture: Picture) -> Answer:
        height, width = (-(-side // _STRIDE) for side in picture.shape[:2])
        strength, named = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
        best = 0.0
        for top, left, tile in _tiles(picture):
            inputs = np.ascontiguousarray(_filled(tile).transpose(2, 0, 1))[None]
            score, defect, classes = self._session.run(["score", "defect", "class"], {"image": inputs})
            best = max(best, float(score[0, 0]))
            rows, columns = -(-tile.shape[0] // _STRIDE), -(-tile.shape[1] // _STRIDE)
            place = np.s_[top // _STRIDE : top // _STRIDE + rows, left // _STRIDE : left // _STRIDE + columns]
            stronger = defect[0, 0, :rows, :columns] > strength[place]
            strength[place] = np.where(stronger, defect[0, 0, :rows, :columns], strength[place])
            named[place] = np.where(stronger, classes[0, 0, :rows, :columns], named[place])
        strongest = int(named.ravel()[int(np.argmax(strength))])
        return Answer(score=best, class_name=self.settings.classes[strongest], strength=strength, named=named)


def findings(answer: Answer, settings: ModelSettings, size_px: tuple[int, int]) -> list[Finding]:
    """Regions of the map as boxes in px of the picture, whose (width, height) is `size_px`; the largest first, at most 200."""
    if answer.strength is None or answer.named is None:
        return []
    found = (answer.strength >= settings.map_threshold * 255).astype(np.uint8)
    count, regions, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    results = []
    for index in sorted(range(1, count), key=lambda i: -int(stats[i, cv2.CC_STAT_AREA]))[:_MOST_FINDINGS]:
        x, y, width, height, area = (int(value) for value in stats[index])
        if area * _STRIDE**2 < settings.least_area_px:
            break
        place = np.s_[y : y + height, x : x + width]
        inside = regions[place] == index
        values = answer.strength[place][inside]
        score = float(np.sort(values)[-_SCORE_PX:].mean()) / 255
        if score < settings.box_threshold:
            continue
        votes = np.bincount(answer.named[place][inside], weights=values, minlength=len(settings.classes))
        box = _grown((x, y, width, height), settings, size_px)
        results.append(Finding(class_name=settings.classes[int(votes.argmax())], box=box, score=score))
    return results


def named_class(answer: Answer, settings: ModelSettings) -> str:
    """The class of the part: good below the threshold."""
    return answer.class_name if answer.score >= settings.threshold else GOOD


def mask(answer: Answer, settings: ModelSettings, size_px: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Places that are a defect, bool [h, w] of the picture."""
    assert answer.strength is not None
    whole = cv2.resize(answer.strength, size_px, interpolation=cv2.INTER_LINEAR)
    return np.asarray(whole >= settings.map_threshold * 255)


def _grown(
    place: tuple[int, int, int, int], settings: ModelSettings, size_px: tuple[int, int]
) -> tuple[int, int, int, int]:
    x, y, width, height = place
    factor = _STRIDE / settings.scale
    sides = (width * factor / settings.box_share, height * factor / settings.box_share)
    centre = ((x + width / 2) * factor, (y + height / 2) * factor)
    low = [max(round(centre[i] - sides[i] / 2), 0) for i in (0, 1)]
    high = [min(max(round(centre[i] + sides[i] / 2), low[i] + 1), size_px[i]) for i in (0, 1)]
    return low[0], low[1], high[0], high[1]


def _tiles(picture: Picture) -> Iterator[tuple[int, int, Picture]]:
    for top in _starts(picture.shape[0]):
        for left in _starts(picture.shape[1]):
            yield top, left, picture[top : top + TILE_PX, left : left + TILE_PX]


def _starts(side: int) -> list[int]:
    if side <= TILE_PX:
        return [0]
    step = TILE_PX - _OVERLAP_PX
    starts = list(range(0, side - TILE_PX, step))
    return [*starts, (side - TILE_PX + 1) // _STRIDE * _STRIDE]


def _filled(tile: Picture) -> Picture:
    down, right = (-tile.shape[0] % _MULTIPLE_PX, -tile.shape[1] % _MULTIPLE_PX)
    return np.pad(tile, ((0, down), (0, right), (0, 0)), mode="symmetric")
