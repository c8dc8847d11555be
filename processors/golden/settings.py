"""What a recipe may set about golden comparison. Plants differ in these values, not in code."""

from dataclasses import dataclass
from enum import StrEnum


class CopperTone(StrEnum):
    """How copper looks beside the bare board. The classifier needs to know: an open is a short in the negative."""

    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSettings:
    """Settings of one view's golden comparison.

    Attributes:
        copper: tone of the copper in frames and references.
        difference_threshold: level of the difference map, 1 to 255, from which a px counts as different; 255 is a change
            as large as the reference's contrast.
        minimum_area_px: a candidate needs this many different px of the frame.
        merge_distance_px: differences closer together than this are one candidate.
        box_margin_px: added to each side of a found box; the labels of data sets often have one.
        minimum_score: a candidate less likely to be a defect than this is dropped, 0 to 1.
        max_candidates: a frame with more keeps the largest; bounds the work that one bad frame makes.
        max_shift_px, max_angle_deg: a part that lies further off is not judged.
        minimum_alignment_quality: a frame that shows less of its reference, 0 to 1, is not judged.

    Raises:
        ValueError: a value outside its range.
    """

    copper: CopperTone = CopperTone.LIGHT
    difference_threshold: int = 90
    minimum_area_px: float = 12.0
    merge_distance_px: float = 10.0
    box_margin_px: int = 2
    minimum_score: float = 0.5
    max_candidates: int = 64
    max_shift_px: float = 8.0
    max_angle_deg: float = 1.5
    minimum_alignment_quality: float = 0.5

    def __post_init__(self) -> None:
        for name in ("minimum_score", "minimum_alignment_quality"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name}: expected 0 to 1, got {value}")
        for name in ("minimum_area_px", "merge_distance_px", "box_margin_px", "max_shift_px", "max_angle_deg"):
            value = getattr(self, name)
            if not value >= 0:
                raise ValueError(f"{name}: expected 0 or more, got {value}")
        if not 1 <= self.difference_threshold <= 255:
            raise ValueError(f"difference_threshold: expected 1 to 255, got {self.difference_threshold}")
        if self.max_candidates < 1:
            raise ValueError(f"max_candidates: expected 1 or more, got {self.max_candidates}")
