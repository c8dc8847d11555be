"""A tolerance map from good parts: what varies on them is no defect, everything else stays as sharp as it was."""

from __future__ import annotations

import numpy as np
import pytest

from processors.golden.comparison import GoldenComparison
from processors.golden.reference import CapturedReference, reference_from_good_parts
from schemas.recipes import GoldenInspection
from simulation import boards, imaging
from training.local_inference import Comparison

LABEL = (slice(300, 324), slice(300, 348))
DEFECT = (slice(120, 136), slice(200, 216))
COMPARE = Comparison()
SCENE = boards.draw_part(design="controller", defects=[], rng=np.random.default_rng(7))["left"].scene


def _good_part(seed: int) -> np.ndarray:
    """A good part whose label is dark on some and light on others."""
    scene = SCENE.copy()
    scene[LABEL] = 40 if seed % 3 else 200
    return imaging.capture(scene, rng=np.random.default_rng(seed)).image


@pytest.fixture(scope="module")
def captured() -> CapturedReference:
    return reference_from_good_parts([_good_part(seed) for seed in range(9)])


def _places(captured: CapturedReference, frame: np.ndarray, *, tolerance: np.ndarray | None) -> list[tuple[int, ...]]:
    comparison = GoldenComparison(reference=captured.image, settings=GoldenInspection(), tolerance=tolerance)
    laid = comparison.lay_over(frame)
    difference = COMPARE(laid.image, comparison.half_reference)
    found = [candidate.box for candidate in comparison.candidates(laid, difference)]
    assert comparison.differs(laid, difference) == bool(found)
    return found


def test_what_varies_on_good_parts_is_no_defect_with_the_map_only(captured: CapturedReference) -> None:
    light = _good_part(21)
    assert _places(captured, light, tolerance=None)
    assert _places(captured, light, tolerance=captured.tolerance) == []


def test_a_defect_elsewhere_is_found_as_without_the_map(captured: CapturedReference) -> None:
    scene = SCENE.copy()
    scene[LABEL] = 40
    scene[DEFECT] = 255 - scene[DEFECT]
    frame = imaging.capture(scene, rng=np.random.default_rng(22)).image
    without = _places(captured, frame, tolerance=None)
    assert without
    assert _places(captured, frame, tolerance=captured.tolerance) == without


def test_a_defect_on_one_of_the_good_parts_is_not_tolerated() -> None:
    parts = [_good_part(1 + 3 * number) for number in range(6)]
    scene = SCENE.copy()
    scene[LABEL] = 40
    scene[DEFECT] = 255 - scene[DEFECT]
    parts[2] = imaging.capture(scene, rng=np.random.default_rng(23)).image
    made = reference_from_good_parts(parts, settings=GoldenInspection(minimum_area_px=10_000.0))  # keeps that part
    assert made.refused == {}
    frame = imaging.capture(scene, rng=np.random.default_rng(24)).image
    assert _places(made, frame, tolerance=made.tolerance)


def test_a_map_of_another_size_is_refused(captured: CapturedReference) -> None:
    with pytest.raises(ValueError, match="tolerance map of size"):
        GoldenComparison(reference=captured.image, settings=GoldenInspection(), tolerance=captured.image)
