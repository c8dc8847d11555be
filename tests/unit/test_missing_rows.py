"""A camera that lies about what it saw: half a picture, black, white, one grey. None of it may end as a good part."""

import cv2
import numpy as np
import pytest

from processors.decoding import decode_grey
from processors.golden.alignment import AlignmentFailed
from processors.golden.comparison import GoldenComparison
from processors.missing_rows import check_last_rows
from schemas.errors import Refused
from schemas.image_header import read_header
from schemas.reasons import RefusalReason
from schemas.recipes import GoldenInspection
from simulation.boards import draw_part, reference
from simulation.imaging import capture

GOLDEN = reference("power", "left")
GOOD = capture(
    draw_part(design="power", defects=[], rng=np.random.default_rng(3))["left"].scene, rng=np.random.default_rng(3)
).image


def _outcome(frame: np.ndarray, golden: np.ndarray = GOLDEN) -> str:
    """What inspect makes of a frame before it looks for defects."""
    try:
        laid = GoldenComparison(reference=golden, settings=GoldenInspection()).lay_over(frame)
        check_last_rows(frame, golden, moved_px=laid.alignment.motion.reach_px())
    except AlignmentFailed:
        return RefusalReason.NOT_ALIGNED
    except Refused as refused:
        return refused.reason
    return "looked at"


def test_a_whole_picture_is_looked_at() -> None:
    assert _outcome(GOOD) == _outcome(GOLDEN) == "looked at"


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_one_level_is_refused_even_where_the_reference_has_no_structure(level: int) -> None:
    constant = np.full_like(GOOD, level)
    assert _outcome(constant) == RefusalReason.NOT_ALIGNED
    plain = np.random.default_rng(1).integers(110, 130, GOOD.shape, np.uint8)
    assert _outcome(constant, plain) == RefusalReason.UNDECODABLE_IMAGE


@pytest.mark.parametrize("fill", [0, 128, 255, "last row"])
def test_half_a_picture_is_refused_however_much_is_missing_and_whatever_it_is_filled_with(fill: int | str) -> None:
    outcomes = []
    for missing in (32, 64, 160, 320, 480):
        frame = GOOD.copy()
        frame[-missing:] = frame[-missing - 1] if fill == "last row" else fill
        outcomes.append(_outcome(frame))
    assert "looked at" not in outcomes
    assert outcomes[0] == RefusalReason.UNDECODABLE_IMAGE, "what is left shows the part"


@pytest.mark.parametrize("kept", [0.5, 0.8, 0.9])
def test_a_jpeg_cut_short_with_an_end_mark_is_refused(kept: float) -> None:
    whole = cv2.imencode(".jpg", GOOD)[1].tobytes()
    cut = whole[: int(len(whole) * kept)] + b"\xff\xd9"
    assert _outcome(decode_grey(cut, read_header(cut))) != "looked at"


def test_a_border_without_noise_is_no_missing_end() -> None:
    bordered = GOOD.copy()
    bordered[-50:] = 0
    check_last_rows(bordered, bordered, moved_px=0.0)
    further = np.vstack((bordered[20:], np.zeros_like(bordered[:20])))
    check_last_rows(further, bordered, moved_px=20.0)
    with pytest.raises(Refused, match="the last 70 of 640 rows are all the same"):
        check_last_rows(further, bordered, moved_px=10.0)
