"""Each step between the models: difference map to candidates, candidates to crops, probabilities to defects."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.golden.alignment import Motion
from processors.golden.candidates import Candidate, can_hold_candidates, find_candidates
from processors.golden.classes import CLASSIFIER_OUTPUTS, DEFECT_CLASSES
from processors.golden.crops import CROP_PX, crop_pairs
from processors.golden.findings import anomaly_score, findings
from schemas.recipes import GoldenInspection
from simulation.defects import DefectKind

SHAPE = (640, 640)
AT_REST = Motion.rigid(frame_shape=SHAPE)
SETTINGS = GoldenInspection(difference_threshold=100, minimum_area_px=12, merge_distance_px=8, box_margin_px=3)


def _difference(*patches: tuple[int, int, int, int]) -> np.ndarray:
    """A map of 320x320 with patches (x1, y1, x2, y2) in its own px."""
    difference = np.zeros((320, 320), np.uint8)
    for x1, y1, x2, y2 in patches:
        difference[y1:y2, x1:x2] = 200
    return difference


def _candidates(
    difference: np.ndarray, settings: GoldenInspection = SETTINGS, motion: Motion = AT_REST
) -> list[Candidate]:
    return find_candidates(difference, motion=motion, frame_shape=SHAPE, settings=settings)


def _sure(*names: str) -> np.ndarray:
    rows = np.zeros((len(names), len(CLASSIFIER_OUTPUTS)), np.float32)
    rows[np.arange(len(names)), [CLASSIFIER_OUTPUTS.index(name) for name in names]] = 1.0
    return rows


def test_the_simulation_and_the_classifier_use_the_same_names() -> None:
    assert tuple(kind.value for kind in DefectKind) == DEFECT_CLASSES


def test_a_patch_becomes_a_candidate_in_px_of_the_frame() -> None:
    (candidate,) = _candidates(_difference((50, 60, 58, 66)))
    assert candidate.box == (100, 120, 116, 132)
    assert candidate.area_px == 8 * 6 * 4
    assert candidate.strength == pytest.approx(200 / 255)


def test_nothing_different_gives_no_candidate() -> None:
    assert _candidates(_difference()) == []


def test_a_patch_below_the_threshold_or_the_area_is_none() -> None:
    faint = _difference((50, 60, 58, 66)) // 3
    assert _candidates(faint) == []
    assert _candidates(_difference((50, 60, 51, 62))) == []


def test_patches_nearer_than_the_merge_distance_are_one() -> None:
    near, far = _difference((50, 50, 56, 56), (58, 50, 64, 56)), _difference((50, 50, 56, 56), (70, 50, 76, 56))
    (merged,) = _candidates(near)
    assert merged.box == (100, 100, 128, 112)
    assert merged.area_px == 2 * 36 * 4
    assert len(_candidates(far)) == 2


def test_the_largest_candidates_are_kept() -> None:
    patches = [(20 * i, 10, 20 * i + 3 + i % 4, 16) for i in range(12)]
    few = GoldenInspection(difference_threshold=100, minimum_area_px=0, merge_distance_px=2, max_candidates=3)
    kept = _candidates(_difference(*patches), few)
    assert [candidate.area_px for candidate in kept] == [6 * 6 * 4] * 3


def test_what_the_frame_does_not_show_is_no_candidate() -> None:
    shifted = Motion.rigid(dx_px=-6.0, frame_shape=SHAPE)  # the left 6 px of the reference lie outside the frame
    strip = _difference((0, 100, 2, 200))
    assert _candidates(strip, motion=shifted) == []
    assert len(_candidates(strip)) == 1


@pytest.mark.parametrize(
    ("patch", "dx_px", "can"),
    [
        ((50, 60, 52, 62), 0.0, True),
        ((50, 60, 51, 62), 0.0, False),  # 8 px of at least 12
        ((0, 100, 2, 200), -6.0, False),  # where the frame shows nothing
        ((0, 100, 2, 200), 0.0, True),
    ],
)
def test_a_frame_that_cannot_hold_candidates_is_told_quickly(
    patch: tuple[int, int, int, int], dx_px: float, can: bool
) -> None:
    motion = Motion.rigid(dx_px=dx_px, frame_shape=SHAPE)
    difference = _difference(patch)
    assert can_hold_candidates(difference, motion=motion, frame_shape=SHAPE, settings=SETTINGS) == can
    assert bool(_candidates(difference, motion=motion)) == can


patches = st.tuples(st.integers(0, 318), st.integers(0, 318), st.integers(1, 20), st.integers(1, 20))


@given(st.lists(patches, max_size=12))
def test_every_different_px_lies_in_exactly_one_candidate(drawn: list[tuple[int, int, int, int]]) -> None:
    difference = _difference(*((x, y, x + w, y + h) for x, y, w, h in drawn))
    everything = GoldenInspection(difference_threshold=100, minimum_area_px=0, max_candidates=10_000)
    found = _candidates(difference, everything)
    assert can_hold_candidates(difference, motion=AT_REST, frame_shape=SHAPE, settings=everything) == bool(found)
    assert sum(candidate.area_px for candidate in found) == 4 * np.count_nonzero(difference)
    for candidate in found:
        x1, y1, x2, y2 = (side // 2 for side in candidate.box)
        assert np.count_nonzero(difference[y1:y2, x1:x2]) * 4 >= candidate.area_px


def test_a_crop_shows_the_candidate_in_its_middle_from_both_pictures() -> None:
    image, reference = np.zeros(SHAPE, np.uint8), np.full(SHAPE, 9, np.uint8)
    image[300:310, 200:210] = 255
    crops = crop_pairs(image, reference, [Candidate((200, 300, 210, 310), 100.0, 1.0)], copper="light")
    assert crops.shape == (1, 2, CROP_PX, CROP_PX)
    assert crops[0, 0, 19:29, 19:29].min() == 255
    assert crops[0, 0].sum() == 100 * 255
    assert np.all(crops[0, 1] == 9)


def test_dark_copper_is_shown_light() -> None:
    picture = np.full(SHAPE, 30, np.uint8)
    crops = crop_pairs(picture, picture, [Candidate((200, 300, 210, 310), 100.0, 1.0)], copper="dark")
    assert np.all(crops == 225)


@pytest.mark.parametrize("box", [(0, 0, 4, 4), (636, 630, 640, 640), (0, 300, 640, 310), (0, 0, 640, 640)])
def test_a_candidate_at_the_border_or_as_large_as_the_frame_is_cropped(box: tuple[int, int, int, int]) -> None:
    picture = np.full(SHAPE, 77, np.uint8)
    crops = crop_pairs(picture, picture, [Candidate(box, 100.0, 1.0)], copper="light")
    assert crops.shape == (1, 2, CROP_PX, CROP_PX)
    assert np.all(crops == 77)


def test_no_candidates_give_no_crops() -> None:
    picture = np.zeros(SHAPE, np.uint8)
    assert crop_pairs(picture, picture, [], copper="light").shape == (0, 2, CROP_PX, CROP_PX)


def test_a_defect_carries_class_score_box_and_area_of_the_original_frame() -> None:
    candidates = [Candidate((100, 120, 116, 132), 150.0, 0.8)]
    probabilities = np.array([[0.1, 0.05, 0.6, 0.05, 0.0, 0.0, 0.2]], np.float32)
    motion = Motion.rigid(dx_px=4.0, dy_px=-2.0, frame_shape=SHAPE)
    (defect,) = findings(candidates, probabilities, motion=motion, frame_shape=SHAPE, settings=SETTINGS)
    assert defect.class_name == "mousebite"
    assert defect.score == pytest.approx(0.8)
    assert defect.box == (101, 115, 123, 133)
    assert defect.area_px == 150.0


def test_a_candidate_that_is_none_is_no_defect() -> None:
    candidates = [Candidate((100, 120, 116, 132), 150.0, 0.8)]
    assert findings(candidates, _sure("none"), motion=AT_REST, frame_shape=SHAPE, settings=SETTINGS) == ()


def test_overlapping_parts_of_one_class_are_one_defect_and_other_classes_stay_apart() -> None:
    candidates = [Candidate((100, 100, 120, 120), 90.0, 1.0), Candidate((106, 100, 124, 120), 60.0, 1.0)]
    same = findings(candidates, _sure("spur", "spur"), motion=AT_REST, frame_shape=SHAPE, settings=SETTINGS)
    assert [(defect.box, defect.area_px) for defect in same] == [((97, 97, 127, 123), 150.0)]
    other = findings(candidates, _sure("spur", "short"), motion=AT_REST, frame_shape=SHAPE, settings=SETTINGS)
    assert len(other) == 2


def test_defects_come_most_certain_first() -> None:
    candidates = [Candidate((100 * i, 100, 100 * i + 20, 120), 90.0, 1.0) for i in (1, 2, 3)]
    probabilities = np.array([[p, 0, 0, 0, 0, 0, 1 - p] for p in (0.6, 0.9, 0.7)], np.float32)
    found = findings(candidates, probabilities, motion=AT_REST, frame_shape=SHAPE, settings=SETTINGS)
    assert [round(defect.score, 1) for defect in found] == [0.9, 0.7, 0.6]


def test_probabilities_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 7\)"):
        findings(
            [Candidate((1, 1, 9, 9), 9.0, 1.0)],
            np.zeros((1, 6), np.float32),
            motion=AT_REST,
            frame_shape=SHAPE,
            settings=SETTINGS,
        )


def test_the_anomaly_score_is_the_surest_defect_and_else_the_level_of_the_difference() -> None:
    quiet, noisy = np.full((320, 320), 4, np.uint8), np.full((320, 320), 40, np.uint8)
    nothing = np.zeros((0, len(CLASSIFIER_OUTPUTS)), np.float32)
    assert anomaly_score(quiet, nothing) < anomaly_score(noisy, nothing) < 0.5
    assert anomaly_score(quiet, _sure("none", "open")) == 1.0
