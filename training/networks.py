"""The networks of the model families: uint8 pictures in, normalisation inside, compact answers out."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

SCORE_PX = 8
"""The score of a picture is the mean of its so many strongest places: one place alone may be noise."""
STRIDE = 2
"""Maps are given at half the resolution of the input."""
_BACKGROUND_LOGIT = 3.0
_STEM_WIDTH = 16
_WIDTHS = (32, 64, 128)
MULTIPLE_PX = 16
"""Sides of the input are multiples of it."""


class Segmenter(nn.Module):
    """A small U-Net (Ronneberger et al., MICCAI 2015) that works at a quarter of the resolution and less.

    The map at half the resolution comes from the quarter by sub-pixel convolution (Shi et al., CVPR 2016): layers at half the
    resolution would take more than half of the time and add little. Where a reference stands behind the picture, the
    difference of both is shown as well.
    """

    def __init__(self, *, channels: int, classes: int, paired: bool, mean: float, deviation: float) -> None:
        super().__init__()
        self.paired = paired
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(deviation))
        inputs = channels + channels // 2 if paired else channels
        self.stem = nn.Sequential(
            _block(inputs, _STEM_WIDTH, stride=2),
            _block(_STEM_WIDTH, _WIDTHS[0], stride=2),
            _block(_WIDTHS[0], _WIDTHS[0]),
        )
        self.down = nn.ModuleList(nn.Sequential(_block(a, b, stride=2), _block(b, b)) for a, b in pairwise(_WIDTHS))
        self.around = _block(_WIDTHS[-1], _WIDTHS[-1], dilation=2)
        self.up = nn.ModuleList(_block(b + a, a) for a, b in pairwise(_WIDTHS))
        self.head = nn.Conv2d(_WIDTHS[0], (classes + 1) * STRIDE**2, 1)
        nn.init.constant_(self.head.bias, 0.0)
        # most places are none, which need not be learned first
        self.head.bias.data[: STRIDE**2] = _BACKGROUND_LOGIT

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits, float32 [N, 1 + classes, h / 2, w / 2], of uint8 [N, channels, h, w]."""
        shown = (image.to(torch.float32) - self.mean) / self.deviation
        if self.paired:
            half = shown.shape[1] // 2
            shown = torch.cat((shown, shown[:, :half] - shown[:, half:]), 1)
        levels = [self.stem(shown)]
        for down in self.down:
            levels.append(down(levels[-1]))
        features = self.around(levels.pop())
        for up in reversed(self.up):
            features = up(torch.cat((functional.interpolate(features, scale_factor=2.0), levels.pop()), 1))
        return functional.pixel_shuffle(self.head(features), STRIDE)


class Maps(nn.Module):
    """What is exported of a segmenter: score, map of defects, map of classes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`score` float32 [N, 1], `defect` and `class` uint8 [N, 1, h / 2, w / 2].

        A place has the sigmoid of half its logit against the background, times 255 in the map: half, so that the many certain places
        of a trained network do not all become 255.
        """
        logits = self.network(image)
        defects = logits[:, 1:]
        strength = torch.sigmoid((torch.logsumexp(defects, 1, keepdim=True) - logits[:, :1]) / 2)
        score = torch.topk(strength.flatten(1), SCORE_PX, 1).values.mean(1, keepdim=True)
        named = torch.argmax(defects, 1, keepdim=True)
        return score, torch.round(strength * 255).to(torch.uint8), named.to(torch.uint8)


class Classifier(nn.Module):
    """A small convolutional network; mean and maximum over places, so that a small defect in a large picture counts."""

    def __init__(self, *, channels: int, classes: int, mean: float, deviation: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(deviation))
        self.features = nn.Sequential(
            _block(channels, 24, stride=2),
            _block(24, 40, stride=2),
            _block(40, 40),
            _block(40, 64, stride=2),
            _block(64, 64),
            _block(64, 96, stride=2),
            _block(96, 96),
        )
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(192, classes))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits, float32 [N, classes], of uint8 [N, channels, h, w]."""
        features = self.features((image.to(torch.float32) - self.mean) / self.deviation)
        return self.head(torch.cat((features.mean((2, 3)), features.amax((2, 3))), 1))


class ClassProbabilities(nn.Module):
    """What is exported of a classifier. Class 0 is the good part."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`score` float32 [N, 1], 1 minus the probability of a good part; `probabilities` float32 [N, classes]."""
        probabilities = torch.softmax(self.network(image), 1)
        return 1 - probabilities[:, :1], probabilities


def _block(inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
