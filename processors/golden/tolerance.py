"""How much good parts differ from their reference, place by place: a label, a connector's colour, a glossy joint.

Measured as `golden_compare` compares (training/golden_compare.py, step by step; a test holds the two together): light divided out,
edges free to lie 2 px apart, 255 for a change as large as the reference's contrast. Ordinary edges and noise therefore tolerate nothing.
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
_LIGHT_CELL = 8
"""Half-size px a side of which light is the mean, before it is smoothed over 5x5 of them."""
_LIGHT_CELLS = np.ones((5, 5), np.float32)
_LEAST_LIGHT_GREY = 8.0
_LEAST_CONTRAST_GREY = 24.0


def tolerance_map(aligned: npt.NDArray[np.uint8], reference: Image) -> Image:
    """What to subtract from the difference of each px before it is judged.

    Args:
        aligned: uint8 [N, H, W], good parts laid over `reference`, N at least 3.
        reference: uint8 [H, W].

    Returns:
        uint8 [H // 2, W // 2] in levels of the difference map, see `spread`.
    """
    return spread(differences(aligned, reference))


def differences(aligned: npt.NDArray[np.uint8], reference: Image) -> npt.NDArray[np.uint8]:
    """Of parts uint8 [N, H, W] laid over `reference` uint8 [H, W] from it: uint8 [N, H // 2, W // 2]."""
    half = reduced(reference)
    return np.stack([difference(reduced(part), half) for part in aligned])


def spread(differences: npt.NDArray[np.uint8]) -> Image:
    """How far good parts differ by px, uint8 [h, w] of uint8 [N, h, w]: the second largest difference of any part.

    The largest is left out, so that a defect that one of the parts has does not make the comparison blind for it.
    """
    second = np.partition(differences, -2, axis=0)[-2]
    second[second < LEAST_LEVEL] = 0
    return np.asarray(cv2.dilate(second, _NEIGHBOURHOOD), np.uint8)


def difference(picture: Image, reference: Image) -> Image:
    """What `golden_compare` says of a picture that lies over its reference: uint8 [H, W] each, reduced; difference uint8 [H, W]."""
    return _difference(picture.astype(np.float32), reference.astype(np.float32)).astype(np.uint8)


def _difference(picture: Grey, reference: Grey) -> Grey:
    height, width = picture.shape
    ratio = _light(reference) / _light(picture)
    picture = picture * cv2.resize(ratio, (width, height), interpolation=cv2.INTER_LINEAR)
    outside = np.maximum(_excess(picture, reference), _excess(reference, picture))
    contrast = max(_LEAST_CONTRAST_GREY, float(reference.max() - reference.min()))
    return np.asarray(np.clip(outside / contrast * 255, 0, 255), np.float32)


def _light(picture: Grey) -> Grey:
    """Local means, one a cell. At the edge, cells and neighbourhoods are as large as the picture lets them be."""
    cells = _by_cells(picture) / _by_cells(np.ones_like(picture))
    smooth = _around(cells) / _around(np.ones_like(cells))
    return np.asarray(np.maximum(smooth, _LEAST_LIGHT_GREY), np.float32)


def _by_cells(picture: Grey) -> Grey:
    rows, columns = (np.arange(0, size, _LIGHT_CELL) for size in picture.shape)
    return np.asarray(np.add.reduceat(np.add.reduceat(picture, rows, axis=0), columns, axis=1), np.float32)


def _around(cells: Grey) -> Grey:
    return np.asarray(cv2.filter2D(cells, -1, _LIGHT_CELLS, borderType=cv2.BORDER_CONSTANT), np.float32)


def _excess(picture: Grey, other: Grey) -> Grey:
    above = picture - cv2.dilate(other, _NEIGHBOURHOOD)
    below = cv2.erode(other, _NEIGHBOURHOOD) - picture
    return np.asarray(np.maximum(above, below), np.float32)
