"""The network of the defect classifier: uint8 crops in, probabilities out, normalisation inside."""

import torch
from torch import nn

from processors.golden.classes import CLASSIFIER_OUTPUTS
from processors.golden.crops import CROP_PX

_LEAST_CONTRAST_GREY = 24.0
"""A crop of nothing but noise is not blown up to full contrast."""


class DefectNetwork(nn.Module):
    """A small convolutional network on (frame, reference) crops.

    The last feature map keeps its 6x6 places, because what happens in the middle is the candidate and what happens at
    the side is its surroundings.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _block(3, 24, kernel=5, stride=2),
            _block(24, 32),
            nn.MaxPool2d(2),
            _block(32, 64),
            _block(64, 64),
            nn.MaxPool2d(2),
            _block(64, 96),
            _block(96, 24, kernel=1),
        )
        side = CROP_PX // 8
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(24 * side * side, 64),
            nn.ReLU(),
            nn.Linear(64, len(CLASSIFIER_OUTPUTS)),
        )

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Logits: float32 [N, 7] of uint8 crops [N, 2, CROP_PX, CROP_PX]."""
        return self.head(self.features(_normalised(crops)))


class Probabilities(nn.Module):
    """What is exported: the network and its softmax."""

    def __init__(self, network: DefectNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Probabilities: float32 [N, 7] of uint8 crops [N, 2, CROP_PX, CROP_PX]."""
        return torch.softmax(self.network(crops), 1)


def _normalised(crops: torch.Tensor) -> torch.Tensor:
    """float32 [N, 3, H, W]: frame and reference from -1 to 1 over the crop's own contrast, and their difference."""
    grey = crops.to(torch.float32)
    smooth = nn.functional.avg_pool2d(grey, 3, 1)
    lowest = smooth.amin((1, 2, 3), keepdim=True)
    contrast = (smooth.amax((1, 2, 3), keepdim=True) - lowest).clamp_min(_LEAST_CONTRAST_GREY)
    scaled = ((grey - lowest) / contrast * 2.0 - 1.0).clamp(-2.0, 2.0)
    return torch.cat((scaled, scaled[:, :1] - scaled[:, 1:]), 1)


def _block(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
