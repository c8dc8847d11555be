"""What a picture says about its camera: sharpness and exposure. One picture in, figures out; no judgement of the part."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from processors.decoding import Image

BURNT_LEVEL = 254
BLACK_LEVEL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHealth:
    """Figures of one picture.

    `sharpness` is the variance of the Laplacian in grey levels squared (Pech-Pacheco et al., ICPR 2000): it depends on what is
    seen, so it is compared with pictures of the same kind only. `mean_level` is 0 to 255. The ratios are shares of pixels,
    0 to 1, at the upper and the lower end of the range, where differences are lost.
    """

    sharpness: float
    mean_level: float
    saturated_ratio: float
    black_ratio: float


def image_health(image: Image) -> ImageHealth:
    """The figures of a grey picture, uint8 [H, W], not empty."""
    return ImageHealth(
        sharpness=float(cv2.Laplacian(image, cv2.CV_64F).var()),
        mean_level=float(image.mean()),
        saturated_ratio=float(np.count_nonzero(image >= BURNT_LEVEL)) / image.size,
        black_ratio=float(np.count_nonzero(image <= BLACK_LEVEL)) / image.size,
    )
