"""Which of several good parts is none: it differs in one place, and no other part differs there.

Judged as the line judges a frame: what this finds is what inspection with the same settings would look at as a possible defect.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from processors.golden.alignment import Motion
from processors.golden.candidates import Candidate, find_candidates, only_seen
from processors.golden.reduction import REDUCTION
from processors.golden.tolerance import spread
from schemas.recipes import GoldenInspection

OUTLIER_MADS = 6.0
"""What lies this many median absolute deviations above the median of all parts is odd."""
_SHOWN_BY_RATIO = 0.75
"""Share of the parts that must show a place: at the border of shifted pictures the median is that of few of them."""
_NEIGHBOURHOOD = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class OddPlace:
    """Where a part differs as no other does.

    Attributes:
        place: the largest such place, in px of the reference.
        limit_px: area of such a place that is usual on these parts, 0 where they are alike.
    """

    place: Candidate
    limit_px: float


def odd_places(
    differences: npt.NDArray[np.uint8],
    motions: Sequence[Motion],
    *,
    frame_shape: tuple[int, int],
    settings: GoldenInspection,
) -> dict[int, OddPlace]:
    """The parts that stand out, by index.

    Args:
        differences: uint8 [N, h, w], of each part from their median (`processors.golden.tolerance.differences`), N at least 3.
        motions: how each part was laid over the others, N of them.
        frame_shape: height and width of the pictures in px.
        settings: from which difference and size on a place counts.

    What a second part shows in the same place is a variation, and no part is odd for it. Where good parts all have places of
    their own (glossy joints, dust), only one much larger than the usual is odd: the limit lies `OUTLIER_MADS` median absolute
    deviations above the median of the parts' largest places. Half of the parts must therefore be good.
    """
    tolerated = cv2.max(spread(differences), cv2.bitwise_not(_shown(motions, differences.shape[1:])))
    largest: list[Candidate | None] = []
    for difference, motion in zip(differences, motions, strict=True):
        own = np.asarray(cv2.subtract(difference, tolerated), np.uint8)
        found = find_candidates(own, motion=motion, frame_shape=frame_shape, settings=settings)
        largest.append(found[0] if found else None)
    areas_px = np.array([0.0 if place is None else place.area_px for place in largest])
    middle_px = float(np.median(areas_px))
    limit_px = middle_px + OUTLIER_MADS * float(np.median(np.abs(areas_px - middle_px)))
    return {
        index: OddPlace(place, limit_px)
        for index, place in enumerate(largest)
        if place is not None and place.area_px > limit_px
    }


def _shown(motions: Sequence[Motion], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """uint8 [h, w], 255 where enough parts show the place and its neighbours."""
    everywhere = np.full(shape, 255, np.uint8)
    shares = np.mean([only_seen(everywhere, motion, REDUCTION) > 0 for motion in motions], axis=0)
    enough = np.where(shares >= _SHOWN_BY_RATIO, np.uint8(255), np.uint8(0))
    return np.asarray(cv2.erode(enough, _NEIGHBOURHOOD), np.uint8)
