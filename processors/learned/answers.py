"""What a model is asked about a picture, and its answers to that as one: large pictures are seen in overlapping tiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from processors.learned.form import Picture, resized
from processors.learned.settings import ModelSettings

INPUT = "image"
MAP_OUTPUTS = ("score", "defect", "class")
CLASS_OUTPUTS = ("score", "probabilities")
TILE_PX = 1024
STRIDE = 2
"""Maps are given at half the resolution of the input."""
MULTIPLE_PX = 16
"""Sides of the input are multiples of it."""
_OVERLAP_PX = 64

Outputs = Mapping[str, npt.NDArray[Any]]
"""What the model answers to one question, by name: arrays of one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One inference: `image` is the input, uint8 [1, c, h, w]; the rest tells which place of the picture it shows (px)."""

    image: Picture
    top: int = 0
    left: int = 0
    height: int = 0
    width: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model says of a picture. `strength` and `named`, uint8 [h / 2, w / 2] at the model's scale, are None for classifiers."""

    score: float
    class_name: str
    strength: Picture | None = None
    named: Picture | None = None


def questions(picture: Picture, settings: ModelSettings) -> Iterator[Question]:
    """The inferences that a picture takes, uint8 [h, w, c] as its form shaped it: one, or one for each tile."""
    if settings.size_px:
        yield Question(image=resized(picture, settings.size_px)[None])
        return
    for top in _starts(picture.shape[0]):
        for left in _starts(picture.shape[1]):
            tile = picture[top : top + TILE_PX, left : left + TILE_PX]
            image = np.ascontiguousarray(_filled(tile).transpose(2, 0, 1))[None]
            yield Question(image=image, top=top, left=left, height=tile.shape[0], width=tile.shape[1])


class AnswerUnusable(ValueError):
    """A model answered with something that its settings do not allow: another shape, an unknown class, no number."""


def score_of(outputs: Outputs) -> float:
    """The score, 0 to 1, of one answered question; that of a picture is the largest of its questions'.

    Raises:
        AnswerUnusable: it is no number from 0 to 1; taken for small it would pass every part.
    """
    score = float(outputs["score"].ravel()[0])
    if not 0 <= score <= 1:
        raise AnswerUnusable(f"expected a score from 0 to 1, got {score}")
    return score


class Answering:
    """Puts the answers to a picture's questions together. Memory: two maps of a quarter of its px each."""

    def __init__(self, settings: ModelSettings, *, shape: tuple[int, ...]) -> None:
        """`shape`: height and width of the shaped picture."""
        self._settings = settings
        self._score = 0.0
        height, width = (-(-side // STRIDE) for side in shape[:2])
        self._strength, self._named = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
        self._probabilities: npt.NDArray[Any] = np.zeros(0, np.float32)

    def add(self, question: Question, outputs: Outputs) -> None:
        """Takes the outputs for one question; where tiles overlap, the stronger one is right.

        Raises:
            AnswerUnusable: they are not what the settings say.
        """
        self._score = max(self._score, score_of(outputs))
        if self._settings.size_px:
            self._probabilities = _shaped(outputs, "probabilities", (1, len(self._settings.classes)))[0]
            return
        height, width = (side // STRIDE for side in question.image.shape[2:])
        for name in MAP_OUTPUTS[1:]:
            _shaped(outputs, name, (1, 1, height, width))
        rows, columns = -(-question.height // STRIDE), -(-question.width // STRIDE)
        top, left = question.top // STRIDE, question.left // STRIDE
        place = np.s_[top : top + rows, left : left + columns]
        defect, classes = outputs["defect"][0, 0, :rows, :columns], outputs["class"][0, 0, :rows, :columns]
        stronger = defect > self._strength[place]
        self._strength[place] = np.where(stronger, defect, self._strength[place])
        self._named[place] = np.where(stronger, classes, self._named[place])

    def answer(self) -> Answer:
        """Of the whole picture, once all questions are answered. Raises AnswerUnusable for a class that is not there."""
        classes = self._settings.classes
        if self._settings.size_px:
            bad = 1 + int(np.argmax(self._probabilities[1:]))
            return Answer(score=self._score, class_name=classes[bad])
        if int(self._named.max()) >= len(classes):
            raise AnswerUnusable(f"expected classes 0 to {len(classes) - 1}, got {int(self._named.max())}")
        strongest = int(self._named.ravel()[int(np.argmax(self._strength))])
        return Answer(score=self._score, class_name=classes[strongest], strength=self._strength, named=self._named)


def _shaped(outputs: Outputs, name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    found = outputs[name]
    if found.shape != shape:
        raise AnswerUnusable(f"expected `{name}` of shape {shape}, got {found.shape}")
    return found


def _starts(side: int) -> list[int]:
    if side <= TILE_PX:
        return [0]
    step = TILE_PX - _OVERLAP_PX
    starts = list(range(0, side - TILE_PX, step))
    return [*starts, (side - TILE_PX + 1) // STRIDE * STRIDE]


def _filled(tile: Picture) -> Picture:
    down, right = (-tile.shape[0] % MULTIPLE_PX, -tile.shape[1] % MULTIPLE_PX)
    return np.pad(tile, ((0, down), (0, right), (0, 0)), mode="symmetric")
