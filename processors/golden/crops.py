"""What the defect classifier sees of a candidate: the frame and its reference around it."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from processors.golden.candidates import Candidate
from schemas.recipes import CopperTone

CROP_PX = 48
_SURROUNDINGS_PX = 14
"""Shown on each side of a candidate at least: whether copper goes on there tells an open from a mousebite."""


def crop_pairs(
    image: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.uint8],
    candidates: Sequence[Candidate],
    *,
    copper: CopperTone,
) -> npt.NDArray[np.uint8]:
    """Cuts a square around every candidate out of both pictures, turned so that copper is light.

    A candidate too large for the square is shown smaller.

    Args:
        image: uint8 [H, W], laid over the reference.
        reference: uint8 [H, W].

    Returns:
        uint8 [N, 2, CROP_PX, CROP_PX]: frame, reference.
    """
    pairs = np.empty((len(candidates), 2, CROP_PX, CROP_PX), np.uint8)
    for pair, candidate in zip(pairs, candidates, strict=True):
        x1, y1, x2, y2 = candidate.box
        side = max(CROP_PX, max(x2 - x1, y2 - y1) + 2 * _SURROUNDINGS_PX)
        left, top = (x1 + x2 - side) // 2, (y1 + y2 - side) // 2
        for channel, picture in enumerate((image, reference)):
            pair[channel] = _square(picture, left, top, side)
    return 255 - pairs if copper == "dark" else pairs


def _square(picture: npt.NDArray[np.uint8], left: int, top: int, side: int) -> npt.NDArray[np.uint8]:
    height, width = picture.shape
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    square = picture[rows[:, None], columns]
    if side == CROP_PX:
        return square
    return np.asarray(cv2.resize(square, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA), np.uint8)
