"""Chooses a model's thresholds on pictures it has not learned from. No torch."""

import time
from collections.abc import Sequence
from random import Random

import cv2
import msgspec
import numpy as np

from processors.learned.answers import Answer
from processors.scoring import score
from training.labels import Sample
from training.pictures import mask_of, size_of
from training.prediction import Model, findings
from training.settings import ModelSettings
from training.thresholds import Threshold, choose_threshold

_LEAST_STRENGTH = 26  # a tenth: below it, a map says nothing
_MAP_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
_BOX_THRESHOLDS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8)
_USUAL_MAP, _USUAL_BOX, _TIE = 0.5, 0.7, 0.005
"""Thresholds that suit most, and by how much others must be better to be taken: what few images decide by chance is not followed."""
_LEAST_IMAGES = 24
MOST_IMAGES = 400
"""More pictures than these make the thresholds hardly better, and take long."""
_MOST_TUNED = 120

Answered = list[tuple[Sample, Answer]]


def answers(model: Model, samples: Sequence[Sample], *, until: float, seed: int) -> Answered:
    """Answers for the samples, at most 400, and at least 24 when `until` (`time.monotonic()`) has come.

    In random order, a bad part and a good part by turns as long as there are both: where one in a hundred is bad, the few are seen.
    """
    order = list(samples)
    Random(seed).shuffle(order)
    bad, good = [one for one in order if one.bad], [one for one in order if not one.bad]
    turns = min(len(bad), len(good))
    order = [*(one for pair in zip(bad, good, strict=False) for one in pair), *bad[turns:], *good[turns:]]
    done: Answered = []
    for sample in order[:MOST_IMAGES]:
        if len(done) >= _LEAST_IMAGES and time.monotonic() > until:
            break
        done.append((sample, model(sample)))
    return done


def tuned(model: Model, answered: Answered) -> ModelSettings:
    """Thresholds of places and regions with the best overlap (outlines) or F1 (boxes); unchanged where nothing is marked."""
    settings = model.settings
    marked = [(sample, answer) for sample, answer in answered if sample.regions is not None][:_MOST_TUNED]
    if settings.size_px or settings.family == "anomaly" or not any(sample.regions for sample, _ in marked):
        return settings
    if any(not region.is_box for sample, _ in marked for region in sample.regions or ()):
        return msgspec.structs.replace(settings, map_threshold=_best_overlap(marked), box_threshold=0.0)
    best = -1.0
    for map_threshold in _MAP_THRESHOLDS:
        all_found = msgspec.structs.replace(settings, map_threshold=map_threshold, box_threshold=0.0)
        found = [
            (
                findings(answer, all_found, size_of(sample)),
                [one.label for one in sample.regions or ()],
            )
            for sample, answer in marked
        ]
        for box_threshold in (value for value in _BOX_THRESHOLDS if not 0 < value <= map_threshold):
            kept = score(([one for one in some if one.score >= box_threshold], labels) for some, labels in found)
            apart = abs(map_threshold - _USUAL_MAP) + abs(max(box_threshold, map_threshold) - _USUAL_BOX)
            value = (kept.located.f1 + kept.mean_f1) / 2 - _TIE * apart
            if value > best:
                best = value
                settings = msgspec.structs.replace(all_found, box_threshold=box_threshold)
    return settings


def part_threshold(
    settings: ModelSettings,
    answered: Answered,
    held: Sequence[Sample],
    *,
    escape_cost: float,
    overkill_cost: float,
) -> Threshold:
    """The threshold of the part's score.

    Args:
        held: all validation samples. Where fewer were answered, each of those stands for so many of its kind: costs are those of
            the shares of good and bad in the label file.
    """

    def told(sample: Sample) -> bool:
        return sample.bad is not None or settings.family == "anomaly"

    counted = [(sample, answer) for sample, answer in answered if told(sample)]

    def stands_for(kind: bool) -> float:
        seen = sum(bool(sample.bad) is kind for sample, _ in counted)
        return sum(told(sample) and bool(sample.bad) is kind for sample in held) / seen if seen else 1.0

    return choose_threshold(
        [answer.score for _, answer in counted],
        [bool(sample.bad) for sample, _ in counted],
        escape_cost=escape_cost * stands_for(True),
        overkill_cost=overkill_cost * stands_for(False),
        otherwise=settings.map_threshold,
    )


def _best_overlap(marked: Answered) -> float:
    """The strength of places at which shared over united px of all images together is largest: every image is looked at once."""
    inside, outside = np.zeros(256), np.zeros(256)
    for sample, answer in marked:
        assert answer.strength is not None
        width, height = size_px = size_of(sample)
        strength = cv2.resize(answer.strength, size_px, interpolation=cv2.INTER_LINEAR)
        names = sorted({region.class_name for region in sample.regions or ()})
        truth = mask_of(sample.regions or (), names, (height, width), 1.0, 1.0) > 0
        inside += np.bincount(strength[truth], minlength=256)
        outside += np.bincount(strength[~truth], minlength=256)
    shared, wrong = inside[::-1].cumsum()[::-1], outside[::-1].cumsum()[::-1]
    overlap = (shared / np.maximum(inside.sum() + wrong, 1))[_LEAST_STRENGTH:]
    return float(_LEAST_STRENGTH + int(np.argmax(overlap))) / 255
