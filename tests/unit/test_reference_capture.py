"""What `linesight references capture` relies on: a reference from good parts, without the odd one out."""

import numpy as np
import pytest

from processors.golden.reference import NotEnoughGoodParts, reference_from_good_parts
from simulation import boards, imaging

DESIGN, OTHER_DESIGN, VIEW = "controller", "power", "left"


def _pictures(design: str, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    scene = boards.draw_part(design=design, defects=[], rng=rng)[VIEW].scene
    return [imaging.capture(scene, rng=rng).image for _ in range(count)]


def test_median_of_aligned_parts_is_cleaner_than_any_of_them() -> None:
    pictures = _pictures(DESIGN, 7)
    captured = reference_from_good_parts(pictures)
    reference = captured.image
    assert captured.refused == {}
    assert reference.shape == pictures[0].shape
    assert reference.dtype == np.uint8
    noise = [float(np.std(np.diff(picture[300:340, 300:340].astype(float)))) for picture in (reference, pictures[1])]
    assert noise[0] < noise[1]


def test_a_part_of_another_product_is_refused_and_named() -> None:
    pictures = _pictures(DESIGN, 6)
    pictures.insert(2, _pictures(OTHER_DESIGN, 1)[0])
    refused = reference_from_good_parts(pictures).refused
    assert list(refused) == [2]
    assert "does not align" in refused[2] or "differs" in refused[2]


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(NotEnoughGoodParts, match="at least 3"):
        reference_from_good_parts(_pictures(DESIGN, 2))


def test_sizes_must_agree() -> None:
    pictures = _pictures(DESIGN, 3)
    pictures[1] = pictures[1][:600]
    with pytest.raises(ValueError, match="one size"):
        reference_from_good_parts(pictures)
