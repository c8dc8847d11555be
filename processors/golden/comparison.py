"""One view's golden comparison, step by step; what lies between the steps is inference.

frame -> lay_over -> [golden_compare] -> candidates, crops -> [defect_classifier] -> defects
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from processors.golden.alignment import Aligner, Alignment, lay_over
from processors.golden.candidates import Candidate, can_hold_candidates, find_candidates
from processors.golden.crops import crop_pairs
from processors.golden.findings import findings, unexplained_ratio
from processors.golden.reduction import reduced
from processors.image_health import image_health, imaging
from schemas.inspections import Defect, Imaging
from schemas.recipes import GoldenInspection

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class LaidFrame:
    """A frame laid over its reference.

    Attributes:
        frame: uint8 [H, W], as it came.
        image: uint8 [H // 2, W // 2], reduced and laid over the reference: input `image` of golden_compare.
        alignment: how it lay, and how well it shows the reference.
        imaging: how the camera saw, beside the reference.
    """

    frame: Image
    image: Image
    alignment: Alignment
    imaging: Imaging


class GoldenComparison:
    """Compares frames with one reference. Made once per reference and settings, then shared between threads."""

    def __init__(self, *, reference: Image, settings: GoldenInspection, tolerance: Image | None = None) -> None:
        """Prepares the reference: uint8 [H, W], at least 64 px a side. `half_reference` is input `reference` of golden_compare.

        `tolerance`: uint8 [H // 2, W // 2], by how many levels of the difference map good parts differ (`tolerance_map`).

        Raises:
            ValueError: a reference of another kind, or a tolerance map of another size.
        """
        self.reference = reference
        self.half_reference = reduced(reference)
        if tolerance is not None and tolerance.shape != self.half_reference.shape:
            raise ValueError(f"expected a tolerance map of size {self.half_reference.shape}, got {tolerance.shape}")
        self.tolerance = tolerance
        self.settings = settings
        self._health = image_health(self.half_reference)
        self._aligner = Aligner(
            reference,
            max_shift_px=settings.max_shift_px,
            max_angle_deg=settings.max_angle_deg,
            minimum_quality=settings.minimum_alignment_quality,
        )

    @property
    def nbytes(self) -> int:
        """Of its pictures."""
        tolerance_bytes = 0 if self.tolerance is None else int(self.tolerance.nbytes)
        return int(self.reference.nbytes + self.half_reference.nbytes) + tolerance_bytes

    def lay_over(self, frame: Image) -> LaidFrame:
        """Aligns a frame, uint8 [H, W].

        Raises:
            AlignmentFailed: it does not show the reference, or lies too far off.
            ValueError: it has another size than the reference.
        """
        if frame.shape != self.reference.shape:
            raise ValueError(f"expected a frame of the reference's size {self.reference.shape}, got {frame.shape}")
        half = reduced(frame)
        alignment = self._aligner.align_half(half)
        seen = imaging(image_health(half), self._health, alignment)
        return LaidFrame(frame, lay_over(half, alignment.motion.at_half_size()), alignment, seen)

    def differs(self, laid: LaidFrame, difference: npt.NDArray[np.uint8]) -> bool:
        """Whether there can be candidates at all: quick, and of most frames False."""
        height, width = laid.frame.shape
        return can_hold_candidates(
            self._beyond_tolerance(difference),
            motion=laid.alignment.motion,
            frame_shape=(height, width),
            settings=self.settings,
        )

    def candidates(self, laid: LaidFrame, difference: npt.NDArray[np.uint8]) -> list[Candidate]:
        """Places that differ, from the output of golden_compare: uint8 [H / 2, W / 2]."""
        height, width = laid.frame.shape
        return find_candidates(
            self._beyond_tolerance(difference),
            motion=laid.alignment.motion,
            frame_shape=(height, width),
            settings=self.settings,
        )

    def _beyond_tolerance(self, difference: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if self.tolerance is None:
            return difference
        return np.asarray(cv2.subtract(difference, self.tolerance), np.uint8)

    def crops(self, laid: LaidFrame, candidates: Sequence[Candidate]) -> npt.NDArray[np.uint8]:
        """Input `crops` of defect_classifier: uint8 [N, 2, 48, 48]."""
        # the whole frame is laid over at full size only where something was found: that is rare
        image = lay_over(laid.frame, laid.alignment.motion) if candidates else laid.frame
        return crop_pairs(image, self.reference, candidates, copper=self.settings.copper)

    def defects(
        self, laid: LaidFrame, candidates: Sequence[Candidate], probabilities: npt.NDArray[np.float32]
    ) -> tuple[Defect, ...]:
        """The defects in px of the original frame, from the output of defect_classifier: float32 [N, 7]."""
        height, width = laid.frame.shape
        return findings(
            candidates,
            probabilities,
            motion=laid.alignment.motion,
            frame_shape=(height, width),
            settings=self.settings,
        )

    def unexplained_ratio(
        self, laid: LaidFrame, candidates: Sequence[Candidate], probabilities: npt.NDArray[np.float32]
    ) -> float:
        """The share of the frame, 0 to 1, that differs and is no defect: above `max_unexplained_ratio` the frame is not judged."""
        height, width = laid.frame.shape
        return unexplained_ratio(candidates, probabilities, frame_shape=(height, width), settings=self.settings)
