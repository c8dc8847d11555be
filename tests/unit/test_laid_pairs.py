"""A dataset shows a model its pairs as the line does: the reference lies under the picture, or the picture is left out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from test_scenario import board

from processors.learned.form import Picture
from processors.learned.paired_reference import PairedReference
from schemas.recipes import ModelPin, PairSegmenterInspection
from simulation.boards import reference
from simulation.defects import DefectKind
from simulation.pictures import take_pictures
from training.laid_pairs import LaidReferences

INSPECTION = PairSegmenterInspection(model=ModelPin(name="boards", version=1))
REFERENCE = reference("controller", "left")


def png(picture: Picture) -> bytes:
    return bytes(cv2.imencode(".png", picture)[1])


def jpeg(seed: int, *defects: DefectKind) -> bytes:
    return take_pictures(board("board-a"), defects=defects, lighting_drift_ratio=0.0, seed=(seed,)).jpegs["left"]


def decoded(content: bytes) -> Picture:
    return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_reference_lies_in_the_dataset_as_it_does_on_the_line(seed: int) -> None:
    picture = jpeg(seed, DefectKind.SHORT)
    found = LaidReferences().laid(picture, png(REFERENCE), INSPECTION)
    assert found is not None
    on_the_line = PairedReference(picture=REFERENCE, inspection=INSPECTION).laid_under(decoded(picture)).picture
    assert np.array_equal(decoded(found), on_the_line)
    apart = [np.abs(decoded(picture).astype(int) - each).mean() for each in (decoded(found), REFERENCE)]
    assert apart[0] < 0.7 * apart[1], "it lies nearer to the picture than before"


def test_the_same_pair_gives_the_same_bytes_whoever_came_between() -> None:
    laid, picture = LaidReferences(), jpeg(4)
    first = laid.laid(picture, png(REFERENCE), INSPECTION)
    for seed in range(5, 8):
        laid.laid(jpeg(seed), png(REFERENCE), INSPECTION)
    assert laid.laid(picture, png(REFERENCE), INSPECTION) == first


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(png(reference("sensor", "left")), id="another product"),
        pytest.param(png(REFERENCE[:320]), id="another size"),
        pytest.param(b"no picture", id="no picture"),
    ],
)
def test_what_the_line_could_not_judge_is_nothing_to_learn_from(bad: bytes) -> None:
    assert LaidReferences().laid(jpeg(1), bad, INSPECTION) is None


def test_a_reference_in_colour_stays_in_colour() -> None:
    coloured = np.stack([REFERENCE, REFERENCE // 2, REFERENCE // 3], axis=2)
    found = LaidReferences().laid(jpeg(1), png(coloured), INSPECTION)
    assert found is not None
    assert decoded(found).shape == (640, 640, 3)
