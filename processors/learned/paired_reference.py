"""A reference picture laid under frames for models that compare: the reference moves, the frame stays as the camera gave it.

So boxes and heat maps are in px of the frame, and no interpolation blurs what is judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from processors.golden.alignment import Aligner, Alignment, Motion
from processors.golden.reduction import reduced
from processors.image_health import image_health, imaging
from processors.learned.form import Picture, grey
from schemas.inspections import Imaging
from schemas.recipes import PairSegmenterInspection


@dataclass(frozen=True, slots=True)
class LaidReference:
    """`picture`: the reference as it lies under the frame, of the frame's shape. `imaging`: how the camera saw, beside it."""

    picture: Picture
    alignment: Alignment
    imaging: Imaging


class PairedReference:
    """One reference, ready to be laid under frames. Made once, then shared between threads."""

    def __init__(self, *, picture: Picture, inspection: PairSegmenterInspection) -> None:
        """`picture`: uint8 [H, W] or [H, W, 3], at least 64 px a side.

        Raises:
            ValueError: a picture of another kind.
        """
        self.picture = picture
        self.grey = grey(picture)
        self._health = image_health(reduced(self.grey))
        self._aligner = Aligner(
            self.grey,
            max_shift_px=inspection.max_shift_px,
            max_angle_deg=inspection.max_angle_deg,
            minimum_quality=inspection.minimum_alignment_quality,
        )

    @property
    def nbytes(self) -> int:
        """Of its pixels."""
        return int(self.picture.nbytes) + (0 if self.grey is self.picture else int(self.grey.nbytes))

    def laid_under(self, frame: Picture) -> LaidReference:
        """The reference under a frame, uint8 [H, W] or [H, W, 3], of the reference's height and width.

        Raises:
            AlignmentFailed: the frame does not show the reference, or lies too far off.
            ValueError: it has another size.
        """
        half = reduced(grey(frame))
        alignment = self._aligner.align_half(half)
        seen = imaging(image_health(half), self._health, alignment)
        return LaidReference(_moved(self.picture, frame, alignment.motion), alignment, seen)


def _moved(reference: Picture, frame: Picture, motion: Motion) -> Picture:
    """Beyond the reference's edge stands the frame itself: what nobody has a reference for does not differ from it."""
    if motion.reach_px() == 0.0:
        return reference
    under = _toned_as(reference, frame).copy()
    height, width = reference.shape[:2]
    moved = cv2.warpAffine(
        reference,
        motion.matrix(),
        (width, height),
        dst=under,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_TRANSPARENT,
    )
    return np.asarray(moved, np.uint8)


def _toned_as(reference: Picture, frame: Picture) -> Picture:
    """The frame, grey or in colour as the reference is."""
    if reference.ndim == 2:
        return grey(frame)
    return frame if frame.ndim == 3 else np.asarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR), np.uint8)
