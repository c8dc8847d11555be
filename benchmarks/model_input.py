"""What the compare model is given: the only place of the benchmarks that knows it. Needs nothing but numpy and cv2."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

HALF_SIZE_SINCE = 2
"""From this version on, golden_compare takes pictures that the client has reduced to half size."""

Image = npt.NDArray[np.uint8]


def model_input(picture: Image, *, version: int) -> Image:
    """An image or a reference, uint8 [H, W], as one row of the tensor that this version takes: uint8 [1, 1, h, w]."""
    if version >= HALF_SIZE_SINCE:
        picture = np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    return picture[None, None]


def output_shape(size_px: tuple[int, int], *, version: int) -> tuple[int, int]:
    """Height and width of the difference map for a tensor of this height and width."""
    height, width = size_px
    return (height, width) if version >= HALF_SIZE_SINCE else (height // 2, width // 2)
