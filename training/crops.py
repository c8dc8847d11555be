"""Crops to train on: half of them around a defect, turned, mirrored, lighter and darker, the reference a little displaced.

Classes are drawn by the root of how often they are marked: a rare one is seen more often than there are of it.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch

from processors.learned.form import Picture
from training.labels import Region, Sample
from training.networks import MULTIPLE_PX, STRIDE
from training.pictures import CACHE_BYTES, Form, PictureCache, mask_of

CROP_PX = 256
_BATCH_PX = 8 * CROP_PX**2
_MOST_BATCH = 32
_MOST_GAIN = 0.2
_MOST_OFFSET_GREY = 20.0
_MOST_NOISE_GREY = 4.0
_MOST_DISPLACED_PX = 2
_REFERENCE_SHARE = 0.4

Draw = Callable[[Picture, np.random.Generator], tuple[Picture, Picture]]
"""Puts defects into a crop of a good part: (crop uint8 [h, w, c], mask uint8 [h, w])."""


class Crops:
    """Batches for segmenters: `inputs` uint8 [N, c, s, s] and `targets` int64 [N, s / 2, s / 2], the class of each place."""

    def __init__(
        self, samples: Sequence[Sample], form: Form, classes: Sequence[str], box_share: float, draw: Draw | None
    ) -> None:
        self._form, self._classes, self._share, self._draw = form, classes, box_share, draw
        self._pictures = PictureCache(form)
        self._all = list(samples)
        self._marked = [
            [(sample, region) for sample in samples for region in sample.regions or () if region.class_name == name]
            for name in classes
        ]
        often = np.sqrt([len(marked) for marked in self._marked])
        # between "as often as there are" and "each class as often": a class of ten is seen, and not only its ten
        self._class_share = often / often.sum() if draw is None and often.sum() else None
        looked_at = self._all[:: max(len(self._all) // 20, 1)]
        loaded = [form.load(sample) for sample in looked_at]
        largest = max(max(picture.shape[:2]) for picture in loaded)
        fit = float(np.mean([picture.nbytes for picture in loaded])) * len(self._all) <= CACHE_BYTES
        # decoding takes longer than learning where the pictures do not stay in memory: more is then taken of each
        self._crops_a_picture = 1 if fit else 2
        self._side = min(CROP_PX, -(-largest // MULTIPLE_PX) * MULTIPLE_PX)
        self._count = min(_BATCH_PX // self._side**2, _MOST_BATCH)

    def __call__(self, generator: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """The next batch; nothing but the generator decides which."""
        drawn: list[tuple[Picture, Picture]] = []
        while len(drawn) < self._count:
            with_defect = len(drawn) // self._crops_a_picture % 2 == 0
            sample, region = self._chosen(generator, with_defect=with_defect)
            for _ in range(min(self._crops_a_picture, self._count - len(drawn))):
                drawn.append(self._crop(sample, region, generator, with_defect))
        inputs = np.stack([crop.transpose(2, 0, 1) for crop, _ in drawn])
        targets = np.stack([mask for _, mask in drawn])
        return torch.from_numpy(inputs), torch.from_numpy(coarse(targets)).long()

    def _chosen(self, generator: np.random.Generator, *, with_defect: bool) -> tuple[Sample, Region | None]:
        if with_defect and self._class_share is not None:
            marked = self._marked[int(generator.choice(len(self._marked), p=self._class_share))]
            return marked[int(generator.integers(len(marked)))]
        return self._all[int(generator.integers(len(self._all)))], None

    def _crop(
        self, sample: Sample, region: Region | None, generator: np.random.Generator, with_defect: bool
    ) -> tuple[Picture, Picture]:
        picture = self._pictures(sample)
        centre = None
        if region is not None:
            x1, y1, x2, y2 = region.box
            centre = (generator.uniform(x1, x2) * self._form.scale, generator.uniform(y1, y2) * self._form.scale)
        top, left = _corner(picture.shape, self._side, centre, generator)
        place = np.s_[top : top + self._side, left : left + self._side]
        crop = picture[place]
        if self._draw is None:
            mask = mask_of(
                sample.regions or (), self._classes, crop.shape, self._form.scale, self._share, corner=(left, top)
            )
        else:
            crop, mask = self._draw(crop, generator) if with_defect else (crop, np.zeros(crop.shape[:2], np.uint8))
        return _varied(
            _filled(crop, self._side),
            _filled(mask[..., None], self._side)[..., 0],
            generator,
            paired=self._form.paired,
        )


def coarse(masks: Picture) -> Picture:
    """uint8 [N, s, s] at the resolution of the maps: a place has the class of any of its px, so that thin defects stay."""
    rows = np.maximum(masks[:, ::STRIDE], masks[:, 1::STRIDE])
    return np.maximum(rows[:, :, ::STRIDE], rows[:, :, 1::STRIDE])


def _corner(
    shape: tuple[int, ...], side: int, centre: tuple[float, float] | None, generator: np.random.Generator
) -> tuple[int, int]:
    corner = []
    for axis in (0, 1):
        most = max(shape[axis] - side, 0)
        if centre is None:
            corner.append(int(generator.integers(most + 1)))
        else:
            middle = centre[1 - axis] + generator.uniform(-0.4, 0.4) * side - side / 2
            corner.append(int(np.clip(middle, 0, most)))
    return corner[0], corner[1]


def _filled(crop: Picture, side: int) -> Picture:
    """A crop of a picture that is smaller than a crop, filled up as the prediction fills up: with its mirror image."""
    down, right = side - crop.shape[0], side - crop.shape[1]
    if not down and not right:
        return crop
    return np.asarray(np.pad(crop, ((0, down), (0, right), (0, 0)), mode="symmetric"), np.uint8)


def _varied(crop: Picture, mask: Picture, generator: np.random.Generator, *, paired: bool) -> tuple[Picture, Picture]:
    turns = int(generator.integers(4))
    crop, mask = np.rot90(crop, turns), np.rot90(mask, turns)
    if generator.random() < 0.5:
        crop, mask = crop[:, ::-1], mask[:, ::-1]
    lit = lighting(np.ascontiguousarray(crop), generator)
    if paired:
        half = lit.shape[2] // 2
        lit[..., half:] = _as_reference(lit[..., half:], generator)
    return lit, np.ascontiguousarray(mask)


def _as_reference(reference: Picture, generator: np.random.Generator) -> Picture:
    """The reference was taken another day: under a little other light, and is laid over a little beside."""
    if generator.random() < 0.5:
        moved = tuple(int(v) for v in generator.integers(-_MOST_DISPLACED_PX, _MOST_DISPLACED_PX + 1, 2))
        reference = np.roll(reference, moved, (0, 1))
    if generator.random() < 0.5:
        reference = _relit(reference, _REFERENCE_SHARE, generator)
    return reference


def lighting(crop: Picture, generator: np.random.Generator) -> Picture:
    """The same under another light, with a little noise: uint8 as it was."""
    lit = _relit(crop, 1.0, generator)
    if generator.random() < 0.3:
        noise = generator.standard_normal(crop.shape, np.float32) * np.float32(generator.uniform(0, _MOST_NOISE_GREY))
        lit = np.clip(lit + noise, 0, 255).astype(np.uint8)
    if generator.random() < 0.1:
        lit = cv2.GaussianBlur(lit, (3, 3), 0).reshape(crop.shape)
    return np.asarray(lit, np.uint8)


def _relit(crop: Picture, share: float, generator: np.random.Generator) -> Picture:
    """With other gain and offset, by up to `share` of the most; by table, which is much quicker than in floats."""
    gain = 1 + share * generator.uniform(-_MOST_GAIN, _MOST_GAIN)
    offset = share * generator.uniform(-_MOST_OFFSET_GREY, _MOST_OFFSET_GREY)
    table = np.clip(np.arange(256) * gain + offset, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(crop, table), np.uint8).reshape(crop.shape)
