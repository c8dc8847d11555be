"""Makes a reference (golden) image and its tolerance map from pictures of good parts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from processors.golden.alignment import Aligner, AlignmentFailed, lay_over
from processors.golden.tolerance import tolerance_map

Image = npt.NDArray[np.uint8]

SMALLEST_SET = 3
_MAX_SHIFT_PX = 16.0
_MAX_ANGLE_DEG = 2.0
_MINIMUM_QUALITY = 0.5
_OUTLIER_MADS = 6.0
"""A picture whose residual lies this many median absolute deviations above the median does not show a good part."""
_SMALLEST_MAD_GREY = 0.5


class NotEnoughGoodParts(ValueError):
    """Fewer than `SMALLEST_SET` pictures agree with each other."""


@dataclass(frozen=True, slots=True)
class CapturedReference:
    """What good parts agree on.

    Attributes:
        image: uint8 [H, W], the reference.
        tolerance: uint8 [H // 2, W // 2], levels of the difference map that good parts differ by (processors.golden.tolerance).
        refused: why, by index of the picture that was left out.
    """

    image: Image
    tolerance: Image
    refused: dict[int, str]


def reference_from_good_parts(pictures: list[Image]) -> CapturedReference:
    """The median of aligned pictures of good parts, how they vary, and which were refused as outliers.

    Args:
        pictures: uint8 [H, W] each, of one view, all of one size, at least `SMALLEST_SET`.

    Every picture is laid over the middle one of those that align best; one that does not align, or whose mean absolute
    difference from the median of all stands out, is refused. A defect on one picture of several does not survive the median.

    Raises:
        NotEnoughGoodParts: too few pictures, or too few that agree.
        ValueError: sizes differ.
    """
    if len({picture.shape for picture in pictures}) > 1:
        raise ValueError(f"expected pictures of one size, got {sorted({p.shape for p in pictures})}")
    if len(pictures) < SMALLEST_SET:
        raise NotEnoughGoodParts(f"expected at least {SMALLEST_SET} pictures of good parts, got {len(pictures)}")
    aligned, unaligned = _aligned(pictures)
    if len(aligned) < SMALLEST_SET:
        raise NotEnoughGoodParts(
            f"only {len(aligned)} of {len(pictures)} pictures align with each other, at least {SMALLEST_SET} are expected; "
            "check that all show the same view of the same product"
        )
    stack = np.stack(list(aligned.values()))
    median = np.median(stack, axis=0)
    residuals = np.abs(stack.astype(np.float32) - median).mean(axis=(1, 2))
    centre = float(np.median(residuals))
    spread = max(_SMALLEST_MAD_GREY, float(np.median(np.abs(residuals - centre))))
    limit = centre + _OUTLIER_MADS * spread
    kept = np.flatnonzero(residuals <= limit)
    if len(kept) < SMALLEST_SET:
        raise NotEnoughGoodParts(
            f"only {len(kept)} of {len(pictures)} pictures agree; at least {SMALLEST_SET} are expected"
        )
    unlike = {
        index: f"differs from the others by {residual:.1f} grey levels on average, at most {limit:.1f} are expected"
        for index, residual in zip(aligned, residuals, strict=True)
        if residual > limit
    }
    image = np.asarray(np.round(np.median(stack[kept], axis=0)), np.uint8)
    return CapturedReference(image, tolerance_map(stack[kept], image), dict(sorted((unaligned | unlike).items())))


def _aligned(pictures: list[Image]) -> tuple[dict[int, Image], dict[int, str]]:
    """Pictures laid over one of them, and why others could not be, by index.

    The first that at least half of the others align with is taken.
    """
    best: dict[int, Image] = {}
    refused: dict[int, str] = {}
    for base in pictures:
        aligner = Aligner(
            base, max_shift_px=_MAX_SHIFT_PX, max_angle_deg=_MAX_ANGLE_DEG, minimum_quality=_MINIMUM_QUALITY
        )
        found: dict[int, Image] = {}
        failed: dict[int, str] = {}
        for index, picture in enumerate(pictures):
            try:
                found[index] = lay_over(picture, aligner.align(picture).motion)
            except AlignmentFailed as error:
                failed[index] = f"does not align with the others: {error}"
        if len(found) > len(best):
            best, refused = found, failed
        if len(best) > len(pictures) // 2:
            break
    return best, refused
