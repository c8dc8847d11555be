"""From classified candidates to the defects of a frame."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from processors.golden.alignment import Motion
from processors.golden.candidates import Box, Candidate
from processors.golden.classes import CLASSIFIER_OUTPUTS, DEFECT_CLASSES, NONE
from processors.scoring import overlap_ratio
from schemas.inspections import Defect
from schemas.recipes import GoldenInspection

_SAME_DEFECT_RATIO = 0.3
"""Two boxes of one class that share more (intersection over union) are two parts of one defect."""
_UNUSUAL_SHARE = 1e-3
_NONE_INDEX = CLASSIFIER_OUTPUTS.index(NONE)


def findings(
    candidates: Sequence[Candidate],
    probabilities: npt.NDArray[np.float32],
    *,
    motion: Motion,
    frame_shape: tuple[int, int],
    settings: GoldenInspection,
) -> tuple[Defect, ...]:
    """Names the defects.

    Args:
        candidates: N places, boxes in px of the reference.
        probabilities: float32 [N, 7] of the defect classifier, columns as CLASSIFIER_OUTPUTS.
        motion: how the frame was laid over the reference.
        frame_shape: height and width of the frame in px.

    Returns:
        Defects with boxes in px of the original frame, most certain first. The score is the probability that the
        candidate is a defect at all; the class is the most probable one.

    Raises:
        ValueError: probabilities of another shape.
    """
    expected = (len(candidates), len(CLASSIFIER_OUTPUTS))
    if probabilities.shape != expected:
        raise ValueError(f"expected probabilities of shape {expected}, got {probabilities.shape}")
    height, width = frame_shape
    found = []
    for candidate, row in zip(candidates, probabilities, strict=True):
        score = float(np.clip(1.0 - row[_NONE_INDEX], 0.0, 1.0))
        if score < settings.minimum_score:
            continue
        x1, y1, x2, y2 = candidate.box
        margin = settings.box_margin_px
        box = (x1 - margin, y1 - margin, x2 + margin, y2 + margin)
        found.append(
            Defect(
                class_name=DEFECT_CLASSES[int(np.argmax(row[:_NONE_INDEX]))],
                score=score,
                box=motion.map_box(box, width_px=width, height_px=height),
                area_px=candidate.area_px,
            )
        )
    return tuple(_joined(sorted(found, key=lambda defect: -defect.score)))


def unexplained_ratio(
    candidates: Sequence[Candidate],
    probabilities: npt.NDArray[np.float32],
    *,
    frame_shape: tuple[int, int],
    settings: GoldenInspection,
) -> float:
    """The share of the frame that differs from the reference without being a defect, 0 to 1.

    The classifier knows defects of boards as a crop of 48 px shows them. What covers much of a picture is none of them, so
    its "none" says nothing there: of 400 boards of DeepPCB, half of them made into grey pictures, the largest share was 0.0023.

    Args:
        candidates, probabilities, frame_shape: as of `findings`.
    """
    likely = 1.0 - probabilities[:, _NONE_INDEX]
    areas = np.array([candidate.area_px for candidate in candidates], np.float64)
    return float(areas[likely < settings.minimum_score].sum()) / (frame_shape[0] * frame_shape[1])


def anomaly_score(difference: npt.NDArray[np.uint8], probabilities: npt.NDArray[np.float32]) -> float:
    """How unusual a frame is, 0 to 1, before any threshold: what watches the models for drift looks at this.

    The largest probability of a defect among the candidates; without candidates, half the level of the difference map
    that one px in a thousand exceeds, so that a lamp that ages shows long before it costs a verdict.

    Args:
        difference: uint8 [h, w] of golden_compare.
        probabilities: float32 [N, 7] of the defect classifier, N may be 0.
    """
    if len(probabilities):
        return float(np.clip(1.0 - probabilities[:, _NONE_INDEX].min(), 0.0, 1.0))
    levels = cv2.calcHist([difference], [0], None, [256], [0, 256])[:, 0]
    above = np.cumsum(levels[::-1])[::-1]
    return float(np.flatnonzero(above > _UNUSUAL_SHARE * difference.size)[-1]) / 255.0 / 2.0


def _joined(defects: list[Defect]) -> list[Defect]:
    """Parts of one defect become one: the box around both, the greater score, the areas added."""
    kept: list[Defect] = []
    for defect in defects:
        for index, other in enumerate(kept):
            if defect.class_name == other.class_name and overlap_ratio(defect.box, other.box) > _SAME_DEFECT_RATIO:
                kept[index] = Defect(
                    class_name=other.class_name,
                    score=other.score,
                    box=_around(other.box, defect.box),
                    area_px=other.area_px + defect.area_px,
                )
                break
        else:
            kept.append(defect)
    return kept


def _around(a: Box, b: Box) -> Box:
    return (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
