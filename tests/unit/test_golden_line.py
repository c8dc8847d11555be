"""Simulated parts through the whole of golden comparison, with the committed models: what the demo relies on."""

import zlib

import cv2
import numpy as np
import pytest

from processors.golden.alignment import AlignmentFailed
from processors.golden.comparison import GoldenComparison
from processors.scoring import overlap_ratio
from schemas.inspections import Defect
from schemas.recipes import GoldenInspection
from simulation.boards import DESIGNS, VIEWS, draw_part, reference
from simulation.defects import DefectKind
from simulation.imaging import capture
from training.local_inference import Classification, Comparison

COMPARE, CLASSIFY = Comparison(), Classification()


def _inspect(frame: np.ndarray, golden: np.ndarray, settings: GoldenInspection | None = None) -> tuple[Defect, ...]:
    return _inspect_all(frame, golden, settings)[0]


def _inspect_all(
    frame: np.ndarray, golden: np.ndarray, settings: GoldenInspection | None = None
) -> tuple[tuple[Defect, ...], float]:
    """The defects, and the share of the frame that differs and is none."""
    comparison = GoldenComparison(reference=golden, settings=settings or GoldenInspection())
    laid = comparison.lay_over(frame)
    candidates = comparison.candidates(laid, COMPARE(laid.image, comparison.half_reference))
    crops = comparison.crops(laid, candidates)
    probabilities = CLASSIFY(crops) if candidates else np.zeros((0, 7), np.float32)
    return (
        comparison.defects(laid, candidates, probabilities),
        comparison.unexplained_ratio(laid, candidates, probabilities),
    )


@pytest.mark.parametrize("drift", [0.0, 1.0], ids=["new lamp", "old lamp"])
@pytest.mark.parametrize("kind", DefectKind)
@pytest.mark.parametrize("design", DESIGNS)
def test_every_kind_of_defect_is_found_named_and_located(design: str, kind: DefectKind, drift: float) -> None:
    rng = np.random.default_rng(zlib.crc32(f"{design} {kind}".encode()))
    drawn = draw_part(design=design, defects=[kind], rng=rng)
    for view in VIEWS:
        taken = capture(drawn[view].scene, rng=rng, lighting_drift_ratio=drift)
        found = _inspect(taken.image, reference(design, view))
        assert [defect.class_name for defect in found] == [true.kind.value for true in drawn[view].defects]
        for defect, true in zip(found, drawn[view].defects, strict=True):
            assert overlap_ratio(defect.box, taken.placement.map_box(true.box)) > 0.33


@pytest.mark.parametrize("drift", [0.0, 1.0], ids=["new lamp", "old lamp"])
@pytest.mark.parametrize("design", DESIGNS)
def test_a_good_part_has_no_defect(design: str, drift: float) -> None:
    rng = np.random.default_rng(7)
    drawn = draw_part(design=design, defects=[], rng=rng)
    for view in VIEWS:
        taken = capture(drawn[view].scene, rng=rng, lighting_drift_ratio=drift)
        defects, unexplained_ratio = _inspect_all(taken.image, reference(design, view))
        assert defects == ()
        assert unexplained_ratio <= GoldenInspection().max_unexplained_ratio / 2


def test_black_and_white_pictures_with_dark_copper_are_inspected_too() -> None:
    rng = np.random.default_rng(5)
    drawn = draw_part(design="power", defects=[DefectKind.PIN_HOLE, DefectKind.COPPER], rng=rng)
    settings = GoldenInspection(copper="dark")
    for view in VIEWS:
        frame, golden = (
            np.where(picture > 120, np.uint8(0), np.uint8(255))
            for picture in (capture(drawn[view].scene, rng=rng).image, reference("power", view))
        )
        names = sorted(defect.class_name for defect in _inspect(frame, golden, settings))
        assert names == sorted(true.kind.value for true in drawn[view].defects)


def test_another_product_is_not_judged() -> None:
    with pytest.raises(AlignmentFailed):
        _inspect(reference("power", "left"), reference("controller", "right"))


@pytest.mark.parametrize("level", [0, 180, 255])
@pytest.mark.parametrize("design", ["controller", "power"])
def test_what_covers_much_of_a_part_and_is_no_known_defect_is_unexplained(design: str, level: int) -> None:
    rng = np.random.default_rng(1)
    frame = capture(draw_part(design=design, defects=[], rng=rng)["left"].scene, rng=rng).image.copy()
    frame[480:] = rng.normal(level, 3, (160, 640)).clip(0, 255)
    _, unexplained_ratio = _inspect_all(frame, reference(design, "left"))
    assert unexplained_ratio > GoldenInspection().max_unexplained_ratio


def test_a_noisy_picture_of_nothing_before_a_plain_reference_is_unexplained() -> None:
    rng = np.random.default_rng(1)
    plain, dark = (rng.normal(level, 3, (640, 640)).clip(0, 255).astype(np.uint8) for level in (120, 10))
    _, unexplained_ratio = _inspect_all(dark, plain)
    assert unexplained_ratio > GoldenInspection().max_unexplained_ratio


def test_a_defect_that_covers_half_the_frame_is_reported_not_crashed_on() -> None:
    golden = reference("power", "left")
    frame = golden.copy()
    cv2.circle(frame, (320, 320), 150, 178, -1)
    settings = GoldenInspection(minimum_alignment_quality=0.0)
    assert len(_inspect(frame, golden, settings)) >= 1
