"""What the compare model is given: the only place of the benchmarks that knows it. Needs nothing but numpy and cv2."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


def model_input(picture: Image) -> Image:
    """An image or a reference, uint8 [H, W], as one row of the tensor that golden_compare takes: uint8 [1, 1, H / 2, W / 2]."""
    half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(half, np.uint8)[None, None]
