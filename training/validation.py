"""Chooses a model's thresholds on pictures it has not learned from. No torch."""

import time
from collections.abc import Sequence
from random import Random

import msgspec

from processors.learned.answers import Answer
from training.evaluation import Judged, judged, located_f1, mean_f1, pixel_iou
from training.labels import Sample
from training.prediction import Model
from training.settings import ModelSettings
from training.thresholds import Threshold, choose_threshold

_MAP_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
_BOX_THRESHOLDS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8)
_LEAST_IMAGES = 12
_MOST_IMAGES = 400
_MOST_TUNED = 120

Answered = list[tuple[Sample, Answer]]


def answers(model: Model, samples: Sequence[Sample], *, until: float, seed: int) -> Answered:
    """Answers for the samples in random order, at most 400, and at least 12 when `until` (`time.monotonic()`) has come."""
    order = list(samples)
    Random(seed).shuffle(order)
    done: Answered = []
    for sample in order[:_MOST_IMAGES]:
        if len(done) >= _LEAST_IMAGES and time.monotonic() > until:
            break
        done.append((sample, model(sample)))
    return done


def tuned(model: Model, answered: Answered) -> ModelSettings:
    """Thresholds of places and regions with the best overlap (outlines) or F1 (boxes); unchanged where nothing is marked."""
    before, settings = model.settings, model.settings
    marked = [(sample, answer) for sample, answer in answered if sample.regions is not None][:_MOST_TUNED]
    if settings.size_px or settings.family == "anomaly" or not any(sample.regions for sample, _ in marked):
        return settings
    outlined = any(not region.is_box for sample, _ in marked for region in sample.regions or ())
    if outlined:
        choices = [(value, 0.0) for value in _MAP_THRESHOLDS]
    else:
        choices = [(value, box) for value in _MAP_THRESHOLDS for box in _BOX_THRESHOLDS if not 0 < box <= value]
    best = -1.0
    for map_threshold, box_threshold in choices:
        model.settings = msgspec.structs.replace(before, map_threshold=map_threshold, box_threshold=box_threshold)
        value = _value([judged(model, sample, answer) for sample, answer in marked], outlined=outlined)
        if value > best + 1e-4:
            best, settings = value, model.settings
    model.settings = before
    return settings


def part_threshold(
    settings: ModelSettings, answered: Answered, *, escape_cost: float, overkill_cost: float
) -> Threshold:
    """The threshold of the part's score."""
    told = [(sample, answer) for sample, answer in answered if sample.bad is not None or settings.family == "anomaly"]
    return choose_threshold(
        [answer.score for _, answer in told],
        [bool(sample.bad) for sample, _ in told],
        escape_cost=escape_cost,
        overkill_cost=overkill_cost,
        otherwise=settings.map_threshold,
    )


def _value(images: Sequence[Judged], *, outlined: bool) -> float:
    """Overlap of places, or the mean of F1 with and without classes; without intervals, which would cost time here."""
    if outlined:
        return pixel_iou(images) or 0.0
    return (located_f1(images) + (mean_f1(images) or 0.0)) / 2
