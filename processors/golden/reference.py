"""Makes a reference (golden) image from pictures of good parts."""

import numpy as np
import numpy.typing as npt

from processors.golden.alignment import Aligner, AlignmentFailed, lay_over

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


def reference_from_good_parts(pictures: list[Image]) -> tuple[Image, list[int]]:
    """The median of aligned pictures of good parts, and the indices of those that were refused as outliers.

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
    aligned = _aligned(pictures)
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
    kept = [index for index, residual in enumerate(residuals) if residual <= centre + _OUTLIER_MADS * spread]
    if len(kept) < SMALLEST_SET:
        raise NotEnoughGoodParts(
            f"only {len(kept)} of {len(pictures)} pictures agree; at least {SMALLEST_SET} are expected"
        )
    chosen = {index for position, index in enumerate(aligned) if position in kept}
    refused = [index for index in range(len(pictures)) if index not in chosen]
    return np.asarray(np.round(np.median(stack[kept], axis=0)), np.uint8), refused


def _aligned(pictures: list[Image]) -> dict[int, Image]:
    """Pictures laid over one of them, by index. The first that at least half of the others align with is taken."""
    best: dict[int, Image] = {}
    for base in pictures:
        aligner = Aligner(
            base, max_shift_px=_MAX_SHIFT_PX, max_angle_deg=_MAX_ANGLE_DEG, minimum_quality=_MINIMUM_QUALITY
        )
        found: dict[int, Image] = {}
        for index, picture in enumerate(pictures):
            try:
                found[index] = lay_over(picture, aligner.align(picture).motion)
            except AlignmentFailed:
                continue
        if len(found) > len(best):
            best = found
        if len(best) > len(pictures) // 2:
            break
    return best
