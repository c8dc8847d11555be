"""A whole picture in a classifier's size, the same in training and in evaluation. No torch."""

import cv2
import numpy as np

from training.pictures import Picture


def resized(picture: Picture, size_px: tuple[int, int]) -> Picture:
    """uint8 [c, h, w] of uint8 [h, w, c]; `size_px` is (width, height)."""
    shrunk = cv2.resize(picture, size_px, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(shrunk.reshape(size_px[1], size_px[0], -1).transpose(2, 0, 1))
