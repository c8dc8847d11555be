"""What a picture says about its camera, beside the reference that it is compared with."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from processors.golden.comparison import GoldenComparison
from processors.image_health import image_health
from schemas.inspections import Imaging
from schemas.recipes import GoldenInspection

Image = npt.NDArray[np.uint8]


def board() -> Image:
    """Lines and pads, 320x320, smoothed as a lens does."""
    image = np.full((320, 320), 60, np.uint8)
    chance = np.random.default_rng(5)
    for _ in range(60):
        x, y = (int(v) for v in chance.integers(20, 300, 2))
        cv2.circle(image, (x, y), int(chance.integers(3, 9)), 180, -1)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.8), np.uint8)


def seen(frame: Image) -> Imaging:
    return GoldenComparison(reference=board(), settings=GoldenInspection(max_shift_px=8)).lay_over(frame).imaging


def test_a_picture_like_its_reference_has_figures_of_one() -> None:
    figures = seen(board())
    assert figures.sharpness_ratio == pytest.approx(1.0, abs=1e-3)
    assert figures.level_ratio == pytest.approx(1.0, abs=1e-3)
    assert figures.shift_px == pytest.approx(0.0, abs=0.1)


def test_a_dirty_lens_lowers_sharpness_and_leaves_the_level() -> None:
    dirty = seen(np.asarray(cv2.GaussianBlur(board(), (0, 0), 2.0), np.uint8))
    assert dirty.sharpness_ratio < 0.5
    assert dirty.level_ratio == pytest.approx(1.0, abs=0.02)


def test_an_ageing_lamp_lowers_the_level_and_a_bright_one_burns_out() -> None:
    assert seen(np.asarray(board() * 0.7, np.uint8)).level_ratio == pytest.approx(0.7, abs=0.02)
    burnt = seen(np.clip(board().astype(np.int32) * 3 // 2, 0, 255).astype(np.uint8))
    assert burnt.saturated_ratio > 0.02
    assert burnt.level_ratio > 1.3


def test_light_alone_changes_no_sharpness() -> None:
    assert seen(np.asarray(board() * 0.7, np.uint8)).sharpness_ratio == pytest.approx(1.0, abs=0.02)


def test_a_mount_that_moved_shows_as_shift() -> None:
    moved = cv2.warpAffine(board(), np.array(((1.0, 0, 3), (0, 1.0, 4))), (320, 320), borderMode=cv2.BORDER_REPLICATE)
    assert seen(np.asarray(moved, np.uint8)).shift_px == pytest.approx(5.0, abs=0.3)


def test_the_figures_are_those_of_their_definitions() -> None:
    image = np.random.default_rng(1).integers(0, 256, (60, 80), np.uint8)
    health = image_health(image)
    assert health.sharpness == pytest.approx(float(cv2.Laplacian(image, cv2.CV_64F).var()))
    assert health.mean_level == pytest.approx(float(image.mean()))
    assert health.saturated_ratio == pytest.approx(float(np.mean(image >= 254)))
    assert health.black_ratio == pytest.approx(float(np.mean(image <= 1)))
