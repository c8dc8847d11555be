"""The simulated boards are what they claim: reproducible, with exactly the defects that the truth names."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulation import boards
from simulation.boards import DESIGNS, VIEWS, draw_part, reference
from simulation.defects import DefectKind
from simulation.imaging import BORDER_PX, FRAME_PX, OPTICS, SCENE_PX, Misregistration, capture, nominal


def _with(kind: DefectKind, seed: int, design: str = "controller") -> tuple[boards.DrawnView, np.ndarray]:
    """The view that got the defect, and the same view without it."""
    drawn = draw_part(design=design, defects=[kind], rng=np.random.default_rng(seed))
    view, found = next((view, drawn[view]) for view in VIEWS if drawn[view].defects)
    clean = draw_part(design=design, defects=[], rng=np.random.default_rng(0))[view]
    return found, clean.scene


def test_a_reference_depends_on_its_names_only() -> None:
    first = reference("sensor", "left")
    boards._ground.cache_clear()
    boards._clean_scene.cache_clear()
    assert np.array_equal(first, reference("sensor", "left"))
    assert first.shape == (FRAME_PX, FRAME_PX)
    assert first.dtype == np.uint8


def test_every_design_and_view_looks_different() -> None:
    pictures = {reference(design, view).tobytes() for design in DESIGNS for view in VIEWS}
    assert len(pictures) == len(DESIGNS) * len(VIEWS)


def test_an_unknown_design_is_named() -> None:
    with pytest.raises(ValueError, match="nonesuch"):
        reference("nonesuch", "left")


def test_the_same_seed_draws_the_same_part() -> None:
    one, two = (draw_part(design="power", defects=list(DefectKind), rng=np.random.default_rng(4)) for _ in range(2))
    for view in VIEWS:
        assert np.array_equal(one[view].scene, two[view].scene)
        assert one[view].defects == two[view].defects


@given(kind=st.sampled_from(DefectKind), seed=st.integers(0, 2**32), design=st.sampled_from(sorted(DESIGNS)))
@settings(max_examples=40, deadline=None)
def test_the_part_differs_exactly_inside_the_true_box(kind: DefectKind, seed: int, design: str) -> None:
    drawn, clean = _with(kind, seed, design)
    rows, columns = np.nonzero(drawn.scene != clean)
    (defect,) = drawn.defects
    x1, y1, x2, y2 = (side + BORDER_PX for side in defect.box)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x1, y1, x2, y2)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("kind", "adds"),
    [
        (DefectKind.OPEN, False),
        (DefectKind.MOUSEBITE, False),
        (DefectKind.PIN_HOLE, False),
        (DefectKind.SHORT, True),
        (DefectKind.SPUR, True),
        (DefectKind.COPPER, True),
    ],
)
def test_a_kind_adds_copper_or_takes_it(kind: DefectKind, adds: bool, seed: int) -> None:
    drawn, clean = _with(kind, seed)
    change = drawn.scene.astype(int) - clean
    assert np.all(change >= 0 if adds else change <= 0)


def _around(drawn: boards.DrawnView, clean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Copper of the clean and of the drawn board, near the defect."""
    x1, y1, x2, y2 = (side + BORDER_PX for side in drawn.defects[0].box)
    near = np.s_[max(y1 - 22, 0) : y2 + 22, max(x1 - 22, 0) : x2 + 22]
    return clean[near] > 120, drawn.scene[near] > 120


def _parts(area: np.ndarray) -> int:
    return cv2.connectedComponents(area.astype(np.uint8))[0] - 1


@given(kind=st.sampled_from(DefectKind), seed=st.integers(0, 2**32), design=st.sampled_from(sorted(DESIGNS)))
@example(kind=DefectKind.SPUR, seed=220, design="power")
@example(kind=DefectKind.SHORT, seed=362879, design="power")
@settings(max_examples=80, deadline=None)
def test_a_kind_does_to_the_conductors_what_its_name_says(kind: DefectKind, seed: int, design: str) -> None:
    before, after = _around(*_with(kind, seed, design))
    touched = cv2.dilate((before != after).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    match kind:
        case DefectKind.SHORT:
            assert _parts(after) < _parts(before)
        case DefectKind.OPEN:
            assert _parts(after) > _parts(before) or _parts(~after) < _parts(~before)
        case DefectKind.SPUR:
            assert _parts(after) == _parts(before)
            assert np.any(touched & before)
        case DefectKind.MOUSEBITE:
            assert np.any(touched & ~before)
        case DefectKind.COPPER:
            assert not np.any(touched & before)
        case DefectKind.PIN_HOLE:
            assert not np.any(touched & ~before)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_a_captured_part_lies_within_the_fixture_and_its_truth_moves_along(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = np.zeros((SCENE_PX, SCENE_PX), np.uint8)
    box = (300, 200, 330, 260)
    scene[box[1] + BORDER_PX : box[3] + BORDER_PX, box[0] + BORDER_PX : box[2] + BORDER_PX] = 200
    taken = capture(scene, rng=rng)
    assert abs(taken.placement.dx_px) <= OPTICS.shift_px
    assert abs(taken.placement.angle_deg) <= OPTICS.angle_deg
    rows, columns = np.nonzero(taken.image > 100)
    x1, y1, x2, y2 = taken.placement.map_box(box)
    assert x1 - 2 <= columns.min() <= x1 + 2
    assert y2 - 2 <= rows.max() + 1 <= y2 + 2
    assert x2 - 2 <= columns.max() + 1 <= x2 + 2
    assert y1 - 2 <= rows.min() <= y1 + 2


def test_a_perfect_capture_is_the_reference() -> None:
    scene = draw_part(design="power", defects=[], rng=np.random.default_rng(0))["left"].scene
    assert np.array_equal(nominal(scene), reference("power", "left"))
    assert Misregistration().map_box((5, 6, 70, 80)) == (5, 6, 70, 80)


def test_a_lamp_that_ages_darkens_the_frame() -> None:
    scene = draw_part(design="power", defects=[], rng=np.random.default_rng(0))["left"].scene
    new, old = (
        capture(scene, rng=np.random.default_rng(1), lighting_drift_ratio=ratio).image.astype(int)
        for ratio in (0.0, 1.0)
    )
    assert np.ptp(old[50:-50, 50:-50]) < np.ptp(new[50:-50, 50:-50])
    assert old.mean() < new.mean()


def test_a_scene_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="672"):
        capture(np.zeros((640, 640), np.uint8), rng=np.random.default_rng(0))
