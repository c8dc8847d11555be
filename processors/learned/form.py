"""How decoded pictures become a model's input: grey or colour, reduced, with the reference behind it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""uint8 [h, w] grey, [h, w, 3] colour (blue first), or [h, w, channels] as a model takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Channels of one picture (1 or 3), scale, and whether a reference stands behind."""

    colour: bool
    scale: float
    paired: bool

    @property
    def channels(self) -> int:
        """Channels of the model's input."""
        return (3 if self.colour else 1) * (2 if self.paired else 1)

    def shaped(self, picture: Picture, *, size: tuple[int, ...] | None = None) -> Picture:
        """uint8 [h, w, 1 or 3] at working scale, of a picture uint8 [H, W] or [H, W, 3].

        `size`: (height, width) instead of what the scale gives: a reference gets the size of its picture.
        """
        toned = _coloured(picture) if self.colour else grey(picture)
        height, width = size or (max(round(side * self.scale), 1) for side in toned.shape[:2])
        if (height, width) != toned.shape[:2]:
            toned = cv2.resize(toned, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(toned, np.uint8).reshape(height, width, -1)

    def joined(self, picture: Picture, reference: Picture | None) -> Picture:
        """uint8 [h, w, channels], the reference's channels last; both uint8 [H, W] or [H, W, 3]."""
        image = self.shaped(picture)
        if reference is None:
            return image
        return np.concatenate([image, self.shaped(reference, size=image.shape[:2])], axis=2)


def grey(picture: Picture) -> Picture:
    """uint8 [H, W] of a picture uint8 [H, W] or [H, W, 3]."""
    return picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def _coloured(picture: Picture) -> Picture:
    return picture if picture.ndim == 3 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)


def resized(picture: Picture, size_px: tuple[int, int]) -> Picture:
    """A whole picture in a classifier's size: uint8 [c, h, w] of uint8 [h, w, c]; `size_px` is (width, height)."""
    shrunk = cv2.resize(picture, size_px, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(shrunk.reshape(size_px[1], size_px[0], -1).transpose(2, 0, 1))
