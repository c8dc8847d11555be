"""How much good parts differ from their reference, place by place: a label, a connector's colour, a glossy joint.

Measured as `golden_compare` compares (training/golden_compare.py): light divided out, edges free to lie 2 px apart, 255 for a
change as large as the reference's contrast. Ordinary edges and noise therefore tolerate nothing.
"""

import cv2
import numpy as np
import numpy.typing as npt

from processors.golden.reduction import reduced

Image = npt.NDArray[np.uint8]
Grey = npt.NDArray[np.float32]

LEAST_LEVEL = 16
"""Smaller differences are noise, and leave the comparison as sharp as it is."""
_NEIGHBOURHOOD = np.ones((3, 3), np.uint8)
_LIGHT_PX = 41
_LEAST_LIGHT_GREY = 8.0
_LEAST_CONTRAST_GREY = 24.0


def tolerance_map(aligned: npt.NDArray[np.uint8], reference: Image) -> Image:
    """What to subtract from the difference of each px before it is judged.

    Args:
        aligned: uint8 [N, H, W], good parts laid over `reference`, N at least 3.
        reference: uint8 [H, W].

    Returns:
        uint8 [H // 2, W // 2] in levels of the difference map: the second largest difference of any part. The largest is left
        out, so that a defect that one of the parts has does not make the comparison blind for it.
    """
    half = reduced(reference).astype(np.float32)
    differences = np.stack([_difference(reduced(part).astype(np.float32), half) for part in aligned])
    second = np.sort(differences, axis=0)[-2]
    second[second < LEAST_LEVEL] = 0
    return np.asarray(cv2.dilate(second.astype(np.uint8), _NEIGHBOURHOOD), np.uint8)


def _difference(picture: Grey, reference: Grey) -> Grey:
    picture = picture * (_light(reference) / _light(picture))
    outside = np.maximum(_excess(picture, reference), _excess(reference, picture))
    contrast = max(_LEAST_CONTRAST_GREY, float(reference.max() - reference.min()))
    return np.asarray(np.clip(outside / contrast * 255, 0, 255), np.float32)


def _light(picture: Grey) -> Grey:
    return np.asarray(np.maximum(cv2.blur(picture, (_LIGHT_PX, _LIGHT_PX)), _LEAST_LIGHT_GREY), np.float32)


def _excess(picture: Grey, other: Grey) -> Grey:
    above = picture - cv2.dilate(other, _NEIGHBOURHOOD)
    below = cv2.erode(other, _NEIGHBOURHOOD) - picture
    return np.asarray(np.maximum(above, below), np.float32)
