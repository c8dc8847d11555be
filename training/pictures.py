"""Pictures for training and evaluation: decoded, at the model's scale, grey or colour, with the marked defects as a mask."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from training.labels import Region, Sample

Picture = npt.NDArray[np.uint8]

CACHE_BYTES = 768 * 2**20
_MOST_PX = 600_000
"""Of a picture at working scale: what two cores can learn from within minutes."""
_LEAST_DEFECT_PX = 8.0
"""Side of a small defect at working scale; a smaller one would be lost in the first layers."""


def read_picture(path: Path) -> Picture | None:
    """uint8 [h, w, 3], blue first; None for what does not decode."""
    try:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # more px than OpenCV takes
        return None
    return None if picture is None else np.asarray(picture, np.uint8)


def size_of(sample: "Sample") -> tuple[int, int]:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How pictures become the model's input: channels of one picture (1 or 3), scale, and whether a reference stands behind."""

    colour: bool
    scale: float
    paired: bool

    @property
    def channels(self) -> int:
        """Channels of the model's input."""
        return (3 if self.colour else 1) * (2 if self.paired else 1)

    def load(self, sample: "Sample") -> Picture:
        """uint8 [h, w, channels] at working scale, the reference's channels last.

        Raises:
            OSError: a picture that was there is gone.
            ConfigurationError: a reference is needed and the sample has none.
        """
        self.refuse_unpaired([sample])
        image = self._one(sample.image, None)
        if not self.paired or sample.reference is None:
            return image
        return np.concatenate([image, self._one(sample.reference, image.shape[:2])], axis=2)

    def refuse_unpaired(self, samples: Sequence["Sample"]) -> None:
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

    def _one(self, path: Path, size: tuple[int, ...] | None) -> Picture:
        picture = read_picture(path)
        if picture is None:
            raise OSError(f"{path}: does not decode any more")
        if not self.colour:
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        height, width = size or (max(round(side * self.scale), 1) for side in picture.shape[:2])
        if (height, width) != picture.shape[:2]:
            picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(picture, np.uint8).reshape(height, width, -1)


class PictureCache:
    """Loaded pictures, least recently used out first; never more than its budget."""

    def __init__(self, form: Form, budget_bytes: int = CACHE_BYTES) -> None:
        self._form = form
        self._left_bytes = budget_bytes
        self._kept: OrderedDict[Path, Picture] = OrderedDict()

    def __call__(self, sample: "Sample") -> Picture:
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
    regions: Sequence["Region"],
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
