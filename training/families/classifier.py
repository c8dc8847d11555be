"""`classifier`: which class, learned from images or crops with one label each."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from schemas.errors import ConfigurationError
from training.families.task import Task, grey_levels
from training.labels import GOOD, Sample
from training.networks import MULTIPLE_PX, Classifier, ClassProbabilities
from training.pictures import Form, is_colour, size_of
from training.resized import Resized
from training.settings import ModelSettings

_INPUT_AREA_PX = 192 * 192


def task(samples: Sequence[Sample]) -> Task:
    """Learns from samples that have an image-level label; class 0 is `good`.

    Raises:
        ConfigurationError: fewer than two classes, or none of them is `good`.
    """
    labelled = [sample for sample in samples if sample.label is not None]
    found = {sample.label for sample in labelled if sample.label is not None}
    if GOOD not in found or len(found) < 2:
        raise ConfigurationError(
            f'classifier: expected `label` "good" and at least one other among the training images, found '
            f"{sorted(found) or 'none'}; from good parts only train `anomaly`"
        )
    classes = [GOOD, *sorted(found - {GOOD})]
    form = Form(colour=is_colour([sample.image for sample in labelled]), scale=1.0, paired=False)
    size_px = input_size(labelled)
    mean, deviation = grey_levels(labelled, form)
    network = Classifier(channels=form.channels, classes=len(classes), mean=mean, deviation=deviation)
    return Task(
        network=network.to(memory_format=torch.channels_last),
        batch=Resized(labelled, form, classes, size_px),
        loss=lambda logits, targets: functional.cross_entropy(logits, targets, label_smoothing=0.03),
        exported=ClassProbabilities,
        settings=ModelSettings(
            family="classifier", classes=classes, colour=form.colour, scale=1.0, paired=False, size_px=size_px
        ),
    )


def input_size(samples: Sequence[Sample]) -> tuple[int, int]:
    """(width, height) of the network's input: the usual proportion of the pictures, and no larger than they are."""
    sizes = np.array([size_of(sample) for sample in samples[:: max(len(samples) // 40, 1)]], float)
    width, height = np.median(sizes, axis=0)
    factor = min(1.0, float(np.sqrt(_INPUT_AREA_PX / (width * height))))
    sides = [max(round(side * factor / MULTIPLE_PX), 2) * MULTIPLE_PX for side in (width, height)]
    return sides[0], sides[1]
