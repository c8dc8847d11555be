"""Pictures for training and evaluation: decoded, at the model's scale, grey or colour, with the marked defects as a mask."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from processors.learned.form import Form as PictureForm
from processors.learned.form import Picture
from schemas.errors import ConfigurationError
from training.labels import Region, Sample
from training.picture_files import read_picture

CACHE_BYTES = 768 * 2**20
_MOST_PX = 600_000
"""Of a picture at working scale: what two cores can learn from within minutes."""
_LEAST_DEFECT_PX = 8.0
"""Side of a small defect at working scale; a smaller one would be lost in the first layers."""


def size_of(sample: Sample) -> tuple[int, int]:
    """(width, height) of the sample's picture, px; it is decoded only where nobody looked at it yet.

    Raises:
        OSError: a picture that was there is gone.
    """
    if sample.size_px is not None:
        return sample.size_px
    picture = read_picture(sample.image)
    if picture is None:
        raise OSError(f"{sample.image}: does not decode any more")
    return picture.shape[1], picture.shape[0]


def is_colour(paths: Sequence[Path]) -> bool:
    """Whether any of (at most 20 of) the pictures has colour beyond what compression leaves."""
    for path in paths[:: max(len(paths) // 20, 1)]:
        picture = read_picture(path)
        if picture is None:
            continue
        seen = picture[:: max(picture.shape[0] // 500, 1), :: max(picture.shape[1] // 500, 1)]
        if float(np.mean(seen.max(2).astype(int) - seen.min(2))) > 4:
            return True
    return False


def working_scale(sizes_px: Sequence[tuple[int, int]], defect_sides_px: Sequence[float]) -> float:
    """Factor by which pictures are reduced, at most 1: as far as the budget asks for and small defects allow."""
    area = float(np.median([width * height for width, height in sizes_px]))
    scale = min(1.0, float(np.sqrt(_MOST_PX / area)))
    if defect_sides_px:
        scale = max(scale, _LEAST_DEFECT_PX / max(float(np.percentile(defect_sides_px, 25)), 1.0))
    return min(scale, 1.0)


class Form(PictureForm):
    """How the pictures of a label file become the model's input, exactly as those of a line do."""

    __slots__ = ()

    def load(self, sample: Sample) -> Picture:
        """uint8 [h, w, channels] at working scale, the reference's channels last.

        Raises:
            OSError: a picture that was there is gone.
            ConfigurationError: a reference is needed and the sample has none.
        """
        self.refuse_unpaired([sample])
        reference = sample.reference if self.paired else None
        return self.joined(_read(sample.image), None if reference is None else _read(reference))

    def refuse_unpaired(self, samples: Sequence[Sample]) -> None:
        """Names the first sample without a reference, where one is needed.

        Raises:
            ConfigurationError: there is one.
        """
        lacking = next((sample for sample in samples if self.paired and sample.reference is None), None)
        if lacking is not None:
            raise ConfigurationError(
                f"{lacking.name} (line {lacking.line}): expected `reference` or `template`, the picture of a good part: the "
                "model compares with it, and learned from pictures that have one"
            )


def _read(path: Path) -> Picture:
    picture = read_picture(path)
    if picture is None:
        raise OSError(f"{path}: does not decode any more")
    return picture


class PictureCache:
    """Loaded pictures, least recently used out first; never more than its budget."""

    def __init__(self, form: Form, budget_bytes: int = CACHE_BYTES) -> None:
        self._form = form
        self._left_bytes = budget_bytes
        self._kept: OrderedDict[Path, Picture] = OrderedDict()

    def __call__(self, sample: Sample) -> Picture:
        """The picture of the sample, as `Form.load`."""
        picture = self._kept.pop(sample.image, None)
        if picture is None:
            picture = self._form.load(sample)
            self._left_bytes -= picture.nbytes
        self._kept[sample.image] = picture
        while self._left_bytes < 0 and len(self._kept) > 1:
            self._left_bytes += self._kept.popitem(last=False)[1].nbytes
        return picture


def mask_of(
    regions: Sequence[Region],
    classes: Sequence[str],
    shape: tuple[int, ...],
    scale: float,
    box_share: float,
    *,
    corner: tuple[int, int] = (0, 0),
) -> Picture:
    """uint8 [h, w]: 0 for nothing, 1 + index of the class inside a region. Boxes count with the middle `box_share` of their sides.

    Large regions are drawn first, so that a small one inside them is not hidden. `corner` is (left, top), px at `scale`, of a window whose
    `shape` is given.
    """
    mask = np.zeros(shape[:2], np.uint8)
    for region in sorted(regions, key=lambda one: -one.area_px):
        points = region.points
        if region.is_box:
            centre = points.mean(0)
            points = centre + (points - centre) * box_share
        drawn = np.rint(points * scale).astype(np.int32) - np.array(corner, np.int32)
        cv2.fillPoly(mask, [drawn], 1 + classes.index(region.class_name))
    return mask
