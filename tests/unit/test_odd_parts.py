"""One part with a defect among good ones is refused by `linesight references capture`, and no good one is for its camera's sake."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from benchmarks.capture_outliers import OPTICS, a_set
from processors.golden.reference import NotEnoughGoodParts, reference_from_good_parts
from schemas.recipes import GoldenInspection
from simulation import boards, imaging
from simulation.defects import DefectKind

SCENE = boards.draw_part(design="sensor", defects=[], rng=np.random.default_rng(7))["left"].scene
OWN_PLACE = "differs in a place where no other picture does"


def picture(*patches: tuple[int, int, int], seed: int) -> np.ndarray:
    """A good part, with squares (x, y in px of the frame, side) where copper is bare board and the other way round."""
    scene = SCENE.copy()
    for x, y, side in patches:
        place = (slice(y + 16, y + 16 + side), slice(x + 16, x + 16 + side))
        scene[place] = boards.SUBSTRATE_GREY + boards.COPPER_GREY - scene[place]
    return imaging.capture(scene, rng=np.random.default_rng(seed)).image


@pytest.mark.parametrize("camera", OPTICS)
@pytest.mark.parametrize("kind", DefectKind)
def test_a_part_with_a_defect_of_usual_size_is_refused_and_no_other(kind: DefectKind, camera: str) -> None:
    rng = np.random.default_rng(2)
    pictures, bad = a_set(kind, parts=9, optics=OPTICS[camera], rng=rng)
    refused = reference_from_good_parts(pictures).refused
    assert list(refused) == [bad]
    assert OWN_PLACE in refused[bad]


@pytest.mark.parametrize("camera", OPTICS)
@pytest.mark.parametrize("seed", range(3))
def test_good_parts_are_kept_whatever_noise_shift_and_light_the_camera_adds(camera: str, seed: int) -> None:
    pictures, _ = a_set(None, parts=9, optics=OPTICS[camera], rng=np.random.default_rng(seed))
    assert reference_from_good_parts(pictures).refused == {}


def test_a_darker_picture_of_a_good_part_is_kept() -> None:
    pictures = [picture(seed=seed) for seed in range(8)]
    pictures[3] = (pictures[3] * 0.6).astype(np.uint8)
    assert reference_from_good_parts(pictures).refused == {}


def test_a_picture_out_of_focus_is_refused_for_differing_everywhere() -> None:
    pictures = [picture(seed=seed) for seed in range(8)]
    pictures[3] = np.asarray(cv2.GaussianBlur(pictures[3], (0, 0), 4.0), np.uint8)
    refused = reference_from_good_parts(pictures).refused
    assert list(refused) == [3]
    assert "on average" in refused[3]


def test_where_the_defect_is_and_how_large_is_told() -> None:
    pictures = [picture(seed=seed) for seed in range(8)]
    pictures[5] = picture((300, 200, 12), seed=5)
    refused = reference_from_good_parts(pictures).refused
    assert list(refused) == [5]
    area_px, x, y = (int(number) for number in re.findall(r"(\d+) px around x (\d+), y (\d+)", refused[5])[0])
    assert 12 <= area_px <= 16 * 16
    assert abs(x - 306) <= 8
    assert abs(y - 206) <= 8


def test_what_two_parts_show_in_the_same_place_is_a_variation() -> None:
    pictures = [picture((300, 200, 12), seed=seed) if seed in (2, 6) else picture(seed=seed) for seed in range(8)]
    assert reference_from_good_parts(pictures).refused == {}


def test_where_every_part_has_a_place_of_its_own_only_a_much_larger_one_is_odd() -> None:
    places = [(60 + 64 * number, 100 + 50 * number, 9 + number % 3) for number in range(8)]
    pictures = [picture(place, seed=seed) for seed, place in enumerate(places)]
    assert reference_from_good_parts(pictures).refused == {}
    pictures[4] = picture((300, 200, 40), seed=4)
    refused = reference_from_good_parts(pictures).refused
    assert list(refused) == [4]
    assert "usual here are up to" in refused[4]


def test_what_the_recipe_is_blind_for_makes_no_part_odd() -> None:
    pictures = [picture((300, 200, 12), seed=seed) if seed == 2 else picture(seed=seed) for seed in range(5)]
    blind = GoldenInspection(minimum_area_px=400.0)
    assert reference_from_good_parts(pictures, settings=blind).refused == {}
    assert list(reference_from_good_parts(pictures).refused) == [2]


def test_three_pictures_one_of_them_with_a_defect_are_too_few_and_it_is_named() -> None:
    pictures = [picture(seed=0), picture((300, 200, 12), seed=1), picture(seed=2)]
    with pytest.raises(NotEnoughGoodParts, match="only 2 of 3") as error:
        reference_from_good_parts(pictures)
    assert list(error.value.refused) == [1]
    assert OWN_PLACE in error.value.refused[1]
