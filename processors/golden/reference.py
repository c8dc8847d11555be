"""Makes a reference (golden) image and its tolerance map from pictures of good parts."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from processors.golden.alignment import Aligner, AlignmentFailed, Motion, lay_over
from processors.golden.odd_parts import OUTLIER_MADS, OddPlace, odd_places
from processors.golden.tolerance import differences, tolerance_map
from schemas.recipes import GoldenInspection

Image = npt.NDArray[np.uint8]

SMALLEST_SET = 3
_MAX_SHIFT_PX = 16.0
_MAX_ANGLE_DEG = 2.0
_MINIMUM_QUALITY = 0.5
_SMALLEST_MAD_LEVELS = 0.5
"""Pictures that are more alike than this would make noise an outlier."""


class NotEnoughGoodParts(ValueError):
    """Fewer than `SMALLEST_SET` pictures agree with each other. `refused` says why, by index of the picture."""

    def __init__(self, message: str, *, refused: dict[int, str] | None = None) -> None:
        """Takes what was expected and what came."""
        super().__init__(message)
        self.refused = refused or {}


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


@dataclass(frozen=True, slots=True)
class _LaidParts:
    """Pictures laid over one of them.

    Attributes:
        indices: which of the pictures, N of them.
        stack: uint8 [N, H, W].
        motions: how each was laid over, N of them.
    """

    indices: tuple[int, ...]
    stack: npt.NDArray[np.uint8]
    motions: tuple[Motion, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def median(self) -> Image:
        return np.asarray(np.round(np.median(self.stack, axis=0)), np.uint8)

    def without(self, refused: dict[int, str]) -> "_LaidParts":
        kept = [place for place, index in enumerate(self.indices) if index not in refused]
        if len(kept) == len(self):
            return self
        motions = tuple(self.motions[place] for place in kept)
        return _LaidParts(tuple(self.indices[place] for place in kept), self.stack[kept], motions)


def reference_from_good_parts(pictures: list[Image], *, settings: GoldenInspection | None = None) -> CapturedReference:
    """The median of aligned pictures of good parts, how they vary, and which were refused as outliers.

    Args:
        pictures: uint8 [H, W] each, of one view, all of one size, at least `SMALLEST_SET`.
        settings: how the view is compared; the defaults where it is not compared with its reference.

    Every picture is laid over the first that most of them align with. Refused is, in this order, one that does not align; one
    that differs from the median of all by far more than the others do, on the average of its px (another product, a hand, out of
    focus); and one that differs in a place of its own as a defect does (`processors.golden.odd_parts`: a cut track). Both are
    told from the difference map that the line judges by: light is divided out, so that a darker picture is none of them.

    Raises:
        NotEnoughGoodParts: too few pictures, or too few that agree.
        ValueError: sizes differ.
    """
    if len({picture.shape for picture in pictures}) > 1:
        raise ValueError(f"expected pictures of one size, got {sorted({p.shape for p in pictures})}")
    if len(pictures) < SMALLEST_SET:
        raise NotEnoughGoodParts(f"expected at least {SMALLEST_SET} pictures of good parts, got {len(pictures)}")
    parts, refused = _aligned(pictures)
    if len(parts) < SMALLEST_SET:
        raise NotEnoughGoodParts(
            f"only {len(parts)} of {len(pictures)} pictures align with each other, at least {SMALLEST_SET} are expected; "
            "check that all show the same view of the same product",
            refused=refused,
        )
    for outliers in (_unlike, partial(_odd, settings=settings or GoldenInspection())):
        refused |= outliers(parts)
        parts = parts.without(refused)
        if len(parts) < SMALLEST_SET:
            raise NotEnoughGoodParts(
                f"only {len(parts)} of {len(pictures)} pictures agree; at least {SMALLEST_SET} are expected",
                refused=dict(sorted(refused.items())),
            )
    image = parts.median()
    return CapturedReference(image, tolerance_map(parts.stack, image), dict(sorted(refused.items())))


def _unlike(parts: _LaidParts) -> dict[int, str]:
    """The pictures that differ from the others on the average of their px, and by how much."""
    levels = differences(parts.stack, parts.median()).mean(axis=(1, 2))
    centre = float(np.median(levels))
    limit = centre + OUTLIER_MADS * max(_SMALLEST_MAD_LEVELS, float(np.median(np.abs(levels - centre))))
    return {
        index: f"differs from the others by {level:.1f} of 255 levels on average, at most {limit:.1f} are expected"
        for index, level in zip(parts.indices, levels, strict=True)
        if level > limit
    }


def _odd(parts: _LaidParts, *, settings: GoldenInspection) -> dict[int, str]:
    """The pictures that differ in one place, where no other does, and where that is."""
    found = odd_places(
        differences(parts.stack, parts.median()),
        parts.motions,
        frame_shape=(parts.stack.shape[1], parts.stack.shape[2]),
        settings=settings,
    )
    return {parts.indices[place]: _where(odd) for place, odd in found.items()}


def _where(odd: OddPlace) -> str:
    x1, y1, x2, y2 = odd.place.box
    usual = f", usual here are up to {odd.limit_px:.0f}" if odd.limit_px else ""
    return (
        f"differs in a place where no other picture does: {odd.place.area_px:.0f} px around x {(x1 + x2) // 2}, "
        f"y {(y1 + y2) // 2}{usual}; a defect? If it is none, add a second picture that shows it"
    )


def _aligned(pictures: list[Image]) -> tuple[_LaidParts, dict[int, str]]:
    """Pictures laid over one of them, and why others could not be, by index.

    The first that at least half of the others align with is taken.
    """
    best: dict[int, tuple[Image, Motion]] = {}
    refused: dict[int, str] = {}
    for base in pictures:
        aligner = Aligner(
            base, max_shift_px=_MAX_SHIFT_PX, max_angle_deg=_MAX_ANGLE_DEG, minimum_quality=_MINIMUM_QUALITY
        )
        found: dict[int, tuple[Image, Motion]] = {}
        failed: dict[int, str] = {}
        for index, picture in enumerate(pictures):
            try:
                motion = aligner.align(picture).motion
                found[index] = lay_over(picture, motion), motion
            except AlignmentFailed as error:
                failed[index] = f"does not align with the others: {error}"
        if len(found) > len(best):
            best, refused = found, failed
        if len(best) > len(pictures) // 2:
            break
    stack = np.stack([image for image, _ in best.values()]) if best else np.empty((0, *pictures[0].shape), np.uint8)
    return _LaidParts(tuple(best), stack, tuple(motion for _, motion in best.values())), refused
