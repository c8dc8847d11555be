"""From the difference map to places that may be defects."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from processors.golden.alignment import Motion
from schemas.recipes import GoldenInspection

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where the frame differs from its reference.

    Attributes:
        box: half-open, tight around the different px, in px of the reference.
        area_px: number of different px, in px of the reference.
        strength: largest difference as a share of the reference's contrast, 0 to 1.
    """

    box: Box
    area_px: float
    strength: float


def can_hold_candidates(
    difference: npt.NDArray[np.uint8], *, motion: Motion, frame_shape: tuple[int, int], settings: GoldenInspection
) -> bool:
    """Whether `find_candidates` can find any, from how many px differ at all: quick, and of most frames False.

    Where the part lies off, the border that the frame does not show differs in most of them.
    """
    if difference.max(initial=0) < settings.difference_threshold:
        return False
    reduction = _reduction(difference, frame_shape)
    seen = only_seen(difference, motion, reduction)
    different_px = np.count_nonzero(seen >= settings.difference_threshold) * reduction**2
    return bool(different_px > 0 and different_px >= settings.minimum_area_px)


def find_candidates(
    difference: npt.NDArray[np.uint8], *, motion: Motion, frame_shape: tuple[int, int], settings: GoldenInspection
) -> list[Candidate]:
    """Groups the different px.

    Args:
        difference: uint8 [h, w] of golden_compare, 255 for a change as large as the reference's contrast; a whole
            fraction of the frame's size.
        motion: how the frame was laid over the reference; what it does not show is not compared.
        frame_shape: height and width of the frame in px.

    Returns:
        Candidates, largest first, at most `settings.max_candidates`.
    """
    reduction = _reduction(difference, frame_shape)
    seen = only_seen(difference, motion, reduction)
    different = np.asarray(seen >= settings.difference_threshold)
    y, x = np.nonzero(different)
    if len(y) == 0:
        return []
    group = _grouped(different, settings.merge_distance_px / reduction)[y, x]
    order = np.argsort(group, kind="stable")
    group, x, y = group[order], x[order], y[order]
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    areas = np.diff(starts, append=len(group)) * float(reduction**2)
    lefts, rights = np.minimum.reduceat(x, starts), np.maximum.reduceat(x, starts)
    tops, bottoms = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    peaks = np.maximum.reduceat(seen[y, x], starts)
    largest = np.argsort(-areas, kind="stable")
    return [
        Candidate(
            box=(
                int(lefts[i]) * reduction,
                int(tops[i]) * reduction,
                (int(rights[i]) + 1) * reduction,
                (int(bottoms[i]) + 1) * reduction,
            ),
            area_px=float(areas[i]),
            strength=float(peaks[i]) / 255.0,
        )
        for i in largest[: settings.max_candidates]
        if areas[i] >= settings.minimum_area_px
    ]


def _reduction(difference: npt.NDArray[np.uint8], frame_shape: tuple[int, int]) -> int:
    """Px of the frame per px of the map."""
    return round(frame_shape[0] / int(difference.shape[0]))


def only_seen(difference: npt.NDArray[np.uint8], motion: Motion, reduction: int) -> npt.NDArray[np.uint8]:
    """The difference, uint8 [h, w], where the frame shows the reference's place; 0 beyond the frame and one px around its border.

    `reduction` is px of the frame per px of the map.
    """
    if motion.reach_px() == 0.0:
        return difference
    height, width = difference.shape
    frame = np.array(((1, 1), (width - 2, 1), (width - 2, height - 2), (1, height - 2)), np.float64) * reduction
    matrix = motion.matrix()
    on_reference = (frame - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T / reduction
    shown = np.zeros_like(difference)
    cv2.fillConvexPoly(shown, np.round(on_reference).astype(np.int32), 255)
    return np.asarray(cv2.bitwise_and(difference, shown), np.uint8)


def _grouped(different: npt.NDArray[np.bool_], distance: float) -> npt.NDArray[np.int32]:
    """int32 [h, w], a number per group of px that are at most `distance` apart."""
    reach = max(1, round(distance / 2))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    _, labels = cv2.connectedComponents(cv2.dilate(different.astype(np.uint8), kernel), connectivity=8)
    return np.asarray(labels, np.int32)
