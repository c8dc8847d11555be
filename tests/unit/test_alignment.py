"""A frame is laid over its reference wherever the fixture puts the part, and left alone where it lies right."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.golden.alignment import Aligner, AlignmentFailed, Motion, lay_over
from simulation.boards import DESIGNS, VIEWS, draw_part, reference
from simulation.defects import DefectKind
from simulation.imaging import capture

SHAPE = (640, 640)


def _aligner(picture: np.ndarray) -> Aligner:
    return Aligner(picture, max_shift_px=8.0, max_angle_deg=1.5, minimum_quality=0.5)


@given(
    design=st.sampled_from(sorted(DESIGNS)),
    view=st.sampled_from(VIEWS),
    seed=st.integers(0, 2**32),
    drift=st.sampled_from((0.0, 1.0)),
    kind=st.sampled_from(DefectKind),
)
@settings(max_examples=40, deadline=None)
def test_a_misplaced_part_is_found_to_a_fifth_of_a_px(
    design: str, view: str, seed: int, drift: float, kind: DefectKind
) -> None:
    rng = np.random.default_rng(seed)
    taken = capture(draw_part(design=design, defects=[kind], rng=rng)[view].scene, rng=rng, lighting_drift_ratio=drift)
    motion = _aligner(reference(design, view)).align(taken.image).motion
    truth = taken.placement
    corner_px = abs(motion.angle_rad - np.radians(truth.angle_deg)) * np.hypot(320, 320)
    assert np.hypot(motion.dx_px - truth.dx_px, motion.dy_px - truth.dy_px) + corner_px < 0.2


def test_a_part_that_lies_right_is_not_touched() -> None:
    picture = reference("controller", "left")
    alignment = _aligner(picture).align(picture)
    assert alignment.motion.reach_px() == 0.0
    assert alignment.quality > 0.999
    assert lay_over(picture, alignment.motion) is picture


def test_laying_over_brings_the_frame_closer_to_its_reference() -> None:
    picture = reference("backplane", "centre")
    turned = Motion.rigid(dx_px=2.4, dy_px=-1.7, angle_rad=0.006, frame_shape=SHAPE)
    frame = cv2.warpAffine(picture, turned.matrix(), (640, 640), borderMode=cv2.BORDER_REPLICATE)
    laid = lay_over(frame, _aligner(picture).align(frame).motion)
    inside = np.s_[16:-16, 16:-16]
    before, after = (float(np.abs(p[inside].astype(float) - picture[inside]).mean()) for p in (frame, laid))
    assert after < before / 4


def _rough_tracks(rng: np.random.Generator) -> np.ndarray:
    """Upright tracks with etched, uneven edges: nothing says where they are up and down."""
    picture = np.zeros((640, 640), np.uint8)
    for x in range(40, 640, 90):
        for y in range(640):
            left, right = x + rng.integers(0, 3), x + 40 + rng.integers(0, 3)
            picture[y, left:right] = 255
    return picture


@pytest.mark.parametrize("seed", range(4))
def test_parallel_tracks_do_not_let_the_part_run_along_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    golden, frame = _rough_tracks(rng), _rough_tracks(rng)
    cv2.line(frame, (130, 200), (160, 230), 255, 6)
    motion = Aligner(golden, max_shift_px=8.0, max_angle_deg=1.5, minimum_quality=0.5).align(frame).motion
    assert abs(motion.dy_px) < 1.0
    assert motion.stretch_ratio < 0.005


def test_a_reference_without_structure_leaves_the_frame_as_it_is() -> None:
    blank = np.full((640, 640), 90, np.uint8)
    frame = blank.copy()
    cv2.circle(frame, (300, 300), 8, 200, -1)
    assert _aligner(blank).align(frame).motion.reach_px() == 0.0


@pytest.mark.parametrize("ratio", [0.985, 1.015])
def test_a_board_stretched_by_a_line_scan_camera_is_followed(ratio: float) -> None:
    golden = reference("controller", "centre")
    stretch = Motion(1.5, -1.0, (ratio, 0.0, 0.0, 1.0), (319.5, 319.5))
    frame = cv2.warpAffine(golden, stretch.matrix(), (640, 640), borderMode=cv2.BORDER_REPLICATE)
    motion = _aligner(golden).align(frame).motion
    assert np.abs(motion.matrix() - stretch.matrix()).max() < 0.1


def test_a_part_that_lies_far_off_is_followed() -> None:
    golden = reference("backplane", "centre")
    frame = np.roll(golden, (18, -21), (0, 1))
    wide = Aligner(golden, max_shift_px=40.0, max_angle_deg=1.5, minimum_quality=0.5)
    motion = wide.align(frame).motion
    assert (motion.dx_px, motion.dy_px) == pytest.approx((-21, 18), abs=0.3)


@pytest.mark.parametrize("frame", [reference("power", "right"), np.zeros((640, 640), np.uint8)], ids=["other", "black"])
def test_a_frame_that_shows_something_else_is_refused(frame: np.ndarray) -> None:
    with pytest.raises(AlignmentFailed):
        _aligner(reference("controller", "left")).align(frame)


def test_a_part_further_off_than_allowed_is_refused() -> None:
    picture = reference("controller", "left")
    frame = np.roll(picture, 5, axis=1)
    strict = Aligner(picture, max_shift_px=3.0, max_angle_deg=1.5, minimum_quality=0.5)
    with pytest.raises(AlignmentFailed, match="at most 3 px"):
        strict.align(frame)


def test_a_frame_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(640, 640\)"):
        _aligner(reference("power", "left")).align(np.zeros((480, 640), np.uint8))


motions = st.builds(
    Motion.rigid,
    dx_px=st.floats(-8, 8),
    dy_px=st.floats(-8, 8),
    angle_rad=st.floats(-0.02, 0.02),
    frame_shape=st.just(SHAPE),
)


@given(motion=motions, x=st.integers(0, 630), y=st.integers(0, 630), size=st.integers(1, 200))
def test_a_mapped_box_is_never_empty_and_stays_in_the_frame(motion: Motion, x: int, y: int, size: int) -> None:
    box = motion.map_box((x, y, x + size, y + size), width_px=640, height_px=640)
    assert 0 <= box[0] < box[2] <= 640
    assert 0 <= box[1] < box[3] <= 640


def test_no_motion_maps_a_box_to_itself() -> None:
    assert Motion.rigid(frame_shape=SHAPE).map_box((3, 4, 50, 60), width_px=640, height_px=640) == (3, 4, 50, 60)


def test_a_shift_moves_the_box_with_the_part() -> None:
    assert Motion.rigid(dx_px=2, dy_px=-3, frame_shape=SHAPE).map_box(
        (10, 20, 50, 60), width_px=640, height_px=640
    ) == (12, 17, 52, 57)
