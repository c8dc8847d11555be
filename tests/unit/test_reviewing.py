"""A person's label becomes the next revision of the verdict, once, and never a command."""

from __future__ import annotations

from judged_parts import MS, T0, VIEWS, S, arrival, defect, inspection, plant

from processors.judgements import Decision
from processors.judging import Judge
from processors.reviewing import revised
from processors.verdict_consequences import command, defect_events
from schemas.inspections import Defect
from schemas.reasons import FailSafe, VerdictReason, VerdictValue
from schemas.records import Review
from schemas.verdicts import Verdict

PLANT = plant()


def first(*defects: Defect) -> Verdict:
    judge: Judge[int] = Judge(plant=PLANT)
    messages = [arrival(), inspection("left", *defects), *(inspection(view) for view in VIEWS[1:])]
    done = [judge.take(item, source=0, size_bytes=1, at_ns=T0, now_ns=T0 + MS) for item in messages]
    (decision,) = [item for step in done for item in step if isinstance(item, Decision)]
    return decision.verdict


def review(value: VerdictValue, *defects: Defect, view: str = "", at: int = T0 + 60 * S, by: str = "anna") -> Review:
    return Review(
        id=f"aoi-1/SN-1/1/{by}/{at}",
        station="aoi-1",
        part_id="SN-1",
        visit=1,
        reviewer=by,
        reviewed_at_ns=at,
        verdict=value,
        view=view,
        defects=defects,
        comment="seen under the microscope",
    )


def test_a_false_call_is_taken_back_with_its_defects() -> None:
    again = revised(review(VerdictValue.OK), [first(defect())], plant=PLANT)
    assert again is not None
    assert (again.id, again.revision, again.verdict, again.action) == (
        "aoi-1/SN-1/1/2",
        2,
        VerdictValue.OK,
        FailSafe.PASS,
    )
    assert (again.decided_by, again.decided_at_ns, again.reasons) == ("anna", T0 + 60 * S, (VerdictReason.REVIEW,))
    assert defect_events(again) == ()
    assert command(again, PLANT.stations[0], now_ns=again.decided_at_ns) is None


def test_what_the_person_marked_replaces_what_the_line_found_on_that_view() -> None:
    marked = defect("spur", score=1.0)
    again = revised(review(VerdictValue.NOT_OK, marked, view="right"), [first(defect())], plant=PLANT)
    assert again is not None
    assert again.verdict is VerdictValue.NOT_OK
    assert [(event.id, event.view, event.class_name) for event in defect_events(again)] == [
        ("aoi-1/SN-1/1/2/0", "left", "open"),
        ("aoi-1/SN-1/1/2/1", "right", "spur"),
    ]


def test_a_label_without_marks_keeps_the_lines_defects() -> None:
    again = revised(review(VerdictValue.NOT_OK), [first(defect())], plant=PLANT)
    assert again is not None
    assert [event.view for event in defect_events(again)] == ["left"]


def test_reviews_count_on_from_the_highest_revision_and_a_repeated_one_makes_none() -> None:
    line = first()
    second = revised(review(VerdictValue.NOT_OK), [line], plant=PLANT)
    assert second is not None
    third = revised(review(VerdictValue.OK, by="bert"), [second, line], plant=PLANT)
    assert third is not None
    assert third.revision == 3
    assert revised(review(VerdictValue.NOT_OK), [third, line, second], plant=PLANT) is None
    assert revised(review(VerdictValue.NOT_OK), [line], plant=PLANT) == second
