"""The simulated end-of-line test says the truth, of every part that matters, so that a dataset can be made of it."""

from __future__ import annotations

import pytest

from processors.labelled_pictures import labelled_pictures
from processors.part_state import PartVisit
from schemas.inspections import Defect
from schemas.reasons import FailSafe, VerdictValue
from schemas.verdicts import Verdict, ViewResult
from simulation.reviewer import GOOD_ONE_IN, TrueMark, reviews_of

LEFT = TrueMark(view="left", class_name="open", box=(10, 20, 30, 40))
LEFT_TOO = TrueMark(view="left", class_name="short", box=(50, 60, 70, 80))
MIDDLE = TrueMark(view="middle", class_name="short", box=(1, 2, 30, 40))
FALSE_CALL = Defect(class_name="open", score=0.9, box=(0, 0, 5, 5), area_px=25.0)


def verdict(value: VerdictValue, part_id: str = "p1", *, found: tuple[Defect, ...] = ()) -> Verdict:
    return Verdict(
        id=f"aoi-1/{part_id}/1/1", station="aoi-1", line="line-1", part_id=part_id, visit=1, revision=1, verdict=value,
        action=FailSafe.PASS, arrived_at_ns=1, decided_at_ns=2, recipe="board-a@1",
        views=(
            ViewResult(view="left", image_sha256="aa" * 32, defects=found),
            ViewResult(view="middle", image_sha256="bb" * 32),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("said", list(VerdictValue))
def test_a_bad_part_is_found_whatever_the_line_said_and_each_view_is_marked(said: VerdictValue) -> None:
    line = verdict(said, found=(FALSE_CALL,))
    reviews = reviews_of(line, (LEFT, MIDDLE, LEFT_TOO), now_ns=7)
    assert {review.verdict for review in reviews} == {VerdictValue.NOT_OK}
    pictures, left_out = labelled_pictures(reviews, {PartVisit("aoi-1", "p1", 1): line})
    assert {each.view: sorted(defect.class_name for defect in each.defects) for each in pictures} == {
        "left": ["open", "short"],
        "middle": ["short"],
    }
    assert not left_out
    assert pictures[0].defects[0].box == LEFT.box


@pytest.mark.parametrize("said", [VerdictValue.NOT_OK, VerdictValue.NOT_DECIDABLE])
@pytest.mark.parametrize("part_id", [f"p{number}" for number in range(6)])
def test_every_good_part_that_was_not_passed_is_cleared_on_every_view(said: VerdictValue, part_id: str) -> None:
    line = verdict(said, part_id, found=(FALSE_CALL,))
    (review,) = reviews_of(line, (), now_ns=7)
    pictures, _ = labelled_pictures([review], {PartVisit("aoi-1", part_id, 1): line})
    assert {each.view: each.defects for each in pictures} == {"left": (), "middle": ()}


def test_of_good_parts_that_passed_a_share_is_looked_at() -> None:
    looked_at = sum(bool(reviews_of(verdict(VerdictValue.OK, f"p{n}"), (), now_ns=n)) for n in range(900))
    assert looked_at == pytest.approx(900 / GOOD_ONE_IN, rel=0.15)


def test_reviews_have_names_of_their_own() -> None:
    reviews = reviews_of(verdict(VerdictValue.OK), (LEFT, MIDDLE), now_ns=7)
    assert len({review.id for review in reviews}) == 2
