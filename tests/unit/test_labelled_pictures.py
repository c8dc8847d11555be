"""What a model may learn from a person's review: labels that follow from it, and nothing that is only likely."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processors.labelled_pictures import LabelledPicture, LeftOutReason, labelled_pictures
from processors.part_state import PartVisit
from schemas.inspections import Defect
from schemas.reasons import FailSafe, VerdictValue
from schemas.records import Review
from schemas.verdicts import Verdict, ViewResult

OK, NOT_OK, NOT_DECIDABLE = VerdictValue.OK, VerdictValue.NOT_OK, VerdictValue.NOT_DECIDABLE


def defect(name: str = "open", left: int = 10) -> Defect:
    return Defect(class_name=name, score=0.9, box=(left, 10, left + 20, 30), area_px=40.0)


LINE = defect("short", 200)
"""What the line found, on the left view only."""


def verdict(part: str = "A") -> Verdict:
    return Verdict(
        id=f"aoi-1/{part}/1/1",
        station="aoi-1",
        line="line-1",
        part_id=part,
        visit=1,
        revision=1,
        verdict=NOT_OK,
        action=FailSafe.REJECT,
        arrived_at_ns=1,
        decided_at_ns=2,
        recipe="board@1",
        batch="lot-7",
        views=(
            ViewResult(view="left", image_sha256=f"{part}l", defects=(LINE,), reference="sha256:ref"),
            ViewResult(view="right", image_sha256=f"{part}r"),
            ViewResult(view="top"),
        ),
    )


def review(
    value: VerdictValue, *defects: Defect, view: str = "", at: int = 100, by: str = "anna", part: str = "A"
) -> Review:
    return Review(
        id=f"aoi-1/{part}/1/{by}/{at}",
        station="aoi-1",
        part_id=part,
        visit=1,
        reviewer=by,
        reviewed_at_ns=at,
        verdict=value,
        view=view,
        defects=defects,
    )


def labels(*reviews: Review) -> tuple[dict[str, LabelledPicture], dict[str, LeftOutReason]]:
    pictures, left_out = labelled_pictures(reviews, {PartVisit("aoi-1", "A", 1): verdict()})
    return {each.view: each for each in pictures}, {each.view: each.reason for each in left_out}


def test_a_part_that_is_good_has_good_pictures_of_every_view() -> None:
    found, left_out = labels(review(OK))
    assert {view: picture.defects for view, picture in found.items()} == {"left": (), "right": ()}
    assert left_out == {"top": LeftOutReason.NO_PICTURE}
    left = found["left"]
    assert (left.part, left.batch, left.reference, left.source) == (
        "aoi-1/A",
        "lot-7",
        "sha256:ref",
        "aoi-1/A/1/anna/100",
    )
    assert (left.labelled_by, left.labelled_at_ns) == ("anna", 100)


def test_marks_say_nothing_of_the_other_views() -> None:
    found, left_out = labels(review(NOT_OK, defect(), view="right"))
    assert {view: picture.defects for view, picture in found.items()} == {"right": (defect(),)}
    assert left_out == dict.fromkeys(("left", "top"), LeftOutReason.VIEW_NOT_REVIEWED)


def test_a_bad_part_without_marks_confirms_what_the_line_marked() -> None:
    found, left_out = labels(review(NOT_OK))
    assert {view: picture.defects for view, picture in found.items()} == {"left": (LINE,)}
    assert left_out["right"] is LeftOutReason.VIEW_NOT_REVIEWED


def test_a_later_review_replaces_what_it_contradicts_and_no_more() -> None:
    found, _ = labels(review(OK, at=1), review(NOT_OK, defect(), view="left", at=2, by="bert"))
    assert {view: picture.labelled_by for view, picture in found.items()} == {"left": "bert"}
    both, _ = labels(review(NOT_OK, defect(), view="left", at=1), review(NOT_OK, defect("spur"), view="right", at=2))
    assert sorted(both) == ["left", "right"]
    undone, left_out = labels(review(OK, at=1), review(NOT_DECIDABLE, at=2))
    assert undone == {}
    assert set(left_out.values()) == {LeftOutReason.NOT_DECIDABLE}


def test_a_view_that_the_part_does_not_have_is_told() -> None:
    found, left_out = labels(review(NOT_OK, defect(), view="lft"))
    assert found == {}
    assert left_out["lft"] is LeftOutReason.UNKNOWN_VIEW


def test_a_part_whose_verdict_is_gone_gives_nothing_and_is_told() -> None:
    pictures, (left_out,) = labelled_pictures([review(OK)], {})
    assert pictures == []
    assert left_out.reason is LeftOutReason.VERDICT_GONE


REVIEWS = st.lists(
    st.builds(
        lambda value, marks, view, at, by, part: review(value, *marks, view=view, at=at, by=by, part=part),
        st.sampled_from(VerdictValue),
        st.lists(st.builds(defect, st.sampled_from(["open", "spur"]), st.integers(0, 5)), max_size=2),
        st.sampled_from(["left", "right", "top", "back"]),
        st.integers(1, 6),
        st.sampled_from(["anna", "bert"]),
        st.sampled_from(["A", "B"]),
    ),
    max_size=8,
    unique_by=lambda one: one.id,
)


@given(reviews=REVIEWS, data=st.data())
def test_order_and_repetition_of_reviews_change_nothing(reviews: list[Review], data: st.DataObject) -> None:
    known = {PartVisit("aoi-1", part, 1): verdict(part) for part in "AB"}
    shuffled = data.draw(st.permutations(reviews + reviews[:3]))
    assert labelled_pictures(shuffled, known) == labelled_pictures(reviews, known)


@given(reviews=REVIEWS)
def test_every_view_of_a_reviewed_part_is_labelled_once_or_told(reviews: list[Review]) -> None:
    known = {PartVisit("aoi-1", part, 1): verdict(part) for part in "AB"}
    pictures, left_out = labelled_pictures(reviews, known)
    told = [(each.part, each.view) for each in left_out if each.reason is not LeftOutReason.UNKNOWN_VIEW]
    found = [(each.part, each.view) for each in pictures]
    parts = {f"aoi-1/{each.part_id}" for each in reviews}
    assert sorted(told + found) == sorted((part, view) for part in parts for view in ("left", "right", "top"))
