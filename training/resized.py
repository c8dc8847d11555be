"""Whole pictures in one size, for classifiers: batches with as many of each class."""

from collections.abc import Sequence

import numpy as np
import torch

from processors.learned.form import Picture, resized
from training.crops import lighting
from training.labels import Sample
from training.pictures import Form, PictureCache

BATCH = 24
_MOST_SHIFT_SHARE = 0.06


class Resized:
    """Batches for classifiers: `inputs` uint8 [N, c, h, w], `targets` int64 [N]."""

    def __init__(self, samples: Sequence[Sample], form: Form, classes: Sequence[str], size_px: tuple[int, int]) -> None:
        self._pictures, self._size_px = PictureCache(form), size_px
        by_class = [[sample for sample in samples if sample.label == name] for name in classes]
        self._by_class = [(index, members) for index, members in enumerate(by_class) if members]

    def __call__(self, generator: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """The next batch; nothing but the generator decides which."""
        inputs, targets = [], []
        for _ in range(BATCH):
            target, members = self._by_class[int(generator.integers(len(self._by_class)))]
            picture = resized(self._pictures(members[int(generator.integers(len(members)))]), self._size_px)
            inputs.append(_varied(picture, generator))
            targets.append(target)
        return torch.from_numpy(np.stack(inputs)), torch.tensor(targets)


def _varied(picture: Picture, generator: np.random.Generator) -> Picture:
    if generator.random() < 0.5:
        picture = picture[:, ::-1]
    if generator.random() < 0.5:
        picture = picture[:, :, ::-1]
    if picture.shape[1] == picture.shape[2] and generator.random() < 0.5:
        picture = picture.transpose(0, 2, 1)
    most = [round(_MOST_SHIFT_SHARE * side) for side in picture.shape[1:]]
    # filled up with its mirror image: an edge in the middle of the picture would look like a defect
    framed = np.pad(picture, ((0, 0), *((margin, margin) for margin in most)), mode="symmetric")
    top, left = (int(generator.integers(2 * margin + 1)) for margin in most)
    moved = framed[:, top : top + picture.shape[1], left : left + picture.shape[2]]
    return lighting(np.ascontiguousarray(moved), generator)
