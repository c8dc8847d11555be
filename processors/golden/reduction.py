"""Pictures are aligned and compared at half size: sub-pixel edges stay visible as grey levels, for a quarter of the work."""

import cv2
import numpy as np
import numpy.typing as npt

REDUCTION = 2
"""Px of a frame per px of what is compared."""

Image = npt.NDArray[np.uint8]


def reduced(picture: Image) -> Image:
    """uint8 [H, W] -> uint8 [H // 2, W // 2], the mean of 2x2 px each; an odd last row or column is left out."""
    height, width = picture.shape[0] // REDUCTION, picture.shape[1] // REDUCTION
    even = picture[: height * REDUCTION, : width * REDUCTION]
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
