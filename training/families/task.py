"""What a family hands to the training loop, and what segmenting families share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from training.crops import Crops, Draw
from training.labels import Region, Sample
from training.loop import Batch, Loss
from training.networks import Maps, Segmenter
from training.pictures import Form, is_colour, size_of, working_scale
from training.settings import ModelSettings

BOX_SHARE = 0.6
"""Share of a box's sides that counts as defect: boxes are drawn around a defect with room, and neighbours' boxes touch."""
_LEARNED_AREA_SHARE = 0.25
_LOOKED_AT = 60
_SMOOTHING, _CLASS_SMOOTHING = 0.005, 0.02
_CLASS_WEIGHT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A network to train, its batches and its loss; `exported` wraps a trained network as Triton serves it."""

    network: nn.Module
    batch: Batch
    loss: Loss
    exported: type[nn.Module]
    settings: ModelSettings


def form_of(samples: Sequence[Sample], *, paired: bool) -> Form:
    """Colour and scale that suit the pictures and the size of their defects."""
    sizes = [size_of(sample) for sample in samples[:: max(len(samples) // _LOOKED_AT, 1)]]
    sides = [side_px(region) for sample in samples for region in sample.regions or ()]
    colour = is_colour([sample.image for sample in samples])
    return Form(colour=colour, scale=working_scale(sizes, sides), paired=paired)


def side_px(region: Region) -> float:
    """The shorter side of a region's box, px."""
    x1, y1, x2, y2 = region.box
    return float(min(x2 - x1, y2 - y1))


def grey_levels(samples: Sequence[Sample], form: Form) -> tuple[float, float]:
    """Mean and deviation of the pictures' values, for the normalisation inside the model."""
    means, squares = [], []
    for sample in samples[:: max(len(samples) // _LOOKED_AT, 1)]:
        picture = form.load(sample).astype(np.float32)
        means.append(float(picture.mean()))
        squares.append(float(np.mean(picture**2)))
    mean = float(np.mean(means))
    return mean, max(max(float(np.mean(squares)) - mean**2, 0.0) ** 0.5, 8.0)


def segmentation(
    family: str, samples: Sequence[Sample], classes: Sequence[str], *, paired: bool, draw: Draw | None = None
) -> Task:
    """The task of a segmenting family: place by place, which class, or none."""
    form = form_of(samples, paired=paired)
    regions = [region for sample in samples for region in sample.regions or ()]
    boxed = sum(region.is_box for region in regions) > len(regions) / 2
    share = BOX_SHARE if boxed else 1.0
    areas = [side_px(region) ** 2 * (share * form.scale) ** 2 for region in regions]
    least_area = float(np.percentile(areas, 2)) * _LEARNED_AREA_SHARE if areas else 12.0
    mean, deviation = grey_levels(samples, form)
    network = Segmenter(channels=form.channels, classes=len(classes), paired=paired, mean=mean, deviation=deviation)
    settings = ModelSettings(
        family=family,
        classes=list(classes),
        colour=form.colour,
        scale=form.scale,
        paired=paired,
        box_share=share,
        least_area_px=max(least_area, 4.0),
    )
    return Task(
        network=network.to(memory_format=torch.channels_last),
        batch=Crops(samples, form, classes, share, draw),
        loss=segmentation_loss,
        exported=Maps,
        settings=settings,
    )


def segmentation_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Where, and of which class, apart: else the class, which only a few places in a hundred have, is learned last.

    Where: cross entropy of defect against none, and Dice, since few places are defects (Milletari et al., 3DV 2016). Class: cross entropy
    among the classes, at the places of defects.
    """
    truth = targets > 0
    against_none = torch.logsumexp(logits[:, 1:], 1) - logits[:, 0]
    entropy = functional.binary_cross_entropy_with_logits(
        against_none, truth.float() * (1 - 2 * _SMOOTHING) + _SMOOTHING
    )
    defect = torch.sigmoid(against_none)
    dice = (2 * (defect * truth).sum() + 1) / (defect.sum() + truth.sum() + 1)
    loss = entropy + 0.5 * (1 - dice)
    if logits.shape[1] > 2 and bool(truth.any()):
        named = logits[:, 1:].movedim(1, -1)[truth]
        loss = loss + _CLASS_WEIGHT * functional.cross_entropy(
            named, targets[truth] - 1, label_smoothing=_CLASS_SMOOTHING
        )
    return loss
