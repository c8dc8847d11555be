"""What a line relies on: one verdict per part visit, in time, with every reason named, and no command that comes too late."""

from __future__ import annotations

from typing import Any

import pytest
from judged_parts import (
    DEADLINE_MS,
    GATE_MS,
    MS,
    T0,
    VIEWS,
    S,
    arrival,
    backfilled,
    defect,
    deferral,
    inspection,
    plant,
    recipe,
)

from processors.judgements import Decision, Done, Judgement, Notice, Refusal
from processors.judging import Judge, JudgeLimits
from schemas.inspections import Inspection
from schemas.plant import Plant
from schemas.plc_events import PartLeft, PlcEvent
from schemas.reasons import CommandKind, FailSafe, RefusalReason, VerdictReason, VerdictValue
from schemas.recipes import KOfN, View
from schemas.verdicts import picture_key

DUE = T0 + DEADLINE_MS * MS
GATE = T0 + GATE_MS * MS


class Line:
    """A judge that is fed messages; sources are numbers in the order of taking."""

    def __init__(self, description: Plant | None = None, *, limits: JudgeLimits | None = None) -> None:
        self.judge: Judge[int] = Judge(plant=description or plant(), limits=limits)
        self.done: list[Judgement[int]] = []
        self.taken = 0

    def take(
        self, *messages: PlcEvent | Inspection, now: int = T0 + 50 * MS, at: int = T0, size: int = 1_000
    ) -> list[Judgement[int]]:
        new: list[Judgement[int]] = []
        for message in messages:
            new += self.judge.take(message, source=self.taken, size_bytes=size, at_ns=at, now_ns=now)
            self.taken += 1
        self.done += new
        return new

    def tick(self, now: int) -> list[Judgement[int]]:
        new = self.judge.tick(now)
        self.done += new
        return new

    def of(self, kind: type[Any]) -> list[Any]:
        return [item for item in self.done if isinstance(item, kind)]

    @property
    def decision(self) -> Decision[int]:
        (decision,) = self.of(Decision)
        return decision

    @property
    def noticed(self) -> list[str]:
        return [notice.what for notice in self.of(Notice)]

    @property
    def released(self) -> list[int]:
        """Sources that may be finished, each as often as it is handed back."""
        single = [item.source for item in self.done if isinstance(item, Done | Refusal)]
        return sorted([*single, *(source for decision in self.of(Decision) for source in decision.sources)])


def views(*names: str) -> list[Inspection]:
    return [inspection(name) for name in names]


def left() -> PartLeft:
    return PartLeft(
        id="aoi-1/SN-1/1/left",
        station="aoi-1",
        part_id="SN-1",
        visit=1,
        lane="reject",
        by_fail_safe=True,
        occurred_at_ns=T0,
    )


def test_a_part_is_ok_when_all_its_views_are_in() -> None:
    line = Line()
    assert not line.take(arrival(), *views("left", "middle"))
    line.take(inspection("right"), now=T0 + 60 * MS)
    verdict, command = line.decision.verdict, line.decision.command
    assert (verdict.id, verdict.verdict, verdict.action) == ("aoi-1/SN-1/1/1", VerdictValue.OK, FailSafe.PASS)
    assert (verdict.arrived_at_ns, verdict.decided_at_ns, verdict.due_at_ns) == (T0, T0 + 60 * MS, DUE)
    assert [view.inspection for view in verdict.views] == [f"aoi-1-{view}/g1/0" for view in VIEWS]
    assert verdict.reasons == ()
    assert command is not None
    assert (command.id, command.kind) == ("verdict/aoi-1/SN-1/1/1", CommandKind.VERDICT)
    assert (command.issued_at_ns, command.valid_until_ns) == (T0 + 60 * MS, GATE)
    assert line.released == [0, 1, 2, 3]


def test_not_ok_waits_for_the_other_views_so_that_the_record_is_complete() -> None:
    line = Line()
    assert not line.take(arrival(), inspection("left", defect("open")), inspection("middle", defect("spur", score=0.1)))
    line.take(inspection("right", defect("spur"), defect("spur")))
    assert line.decision.verdict.verdict is VerdictValue.NOT_OK
    assert line.decision.verdict.action is FailSafe.REJECT
    assert line.decision.verdict.reasons == (VerdictReason.DEFECT,)
    assert [(event.id, event.view, event.class_name) for event in line.decision.defects] == [
        ("aoi-1/SN-1/1/1/0", "left", "open"),
        ("aoi-1/SN-1/1/1/1", "right", "spur"),
        ("aoi-1/SN-1/1/1/2", "right", "spur"),
    ]
    assert line.decision.defects[0].camera == "aoi-1-left"
    assert line.decision.defects[0].picture == picture_key("ab" * 32)
    assert line.decision.command is not None
    assert line.decision.command.reason_code == "defect"


def test_defects_that_count_are_told_although_the_vote_passes_the_part() -> None:
    line = Line(plant(recipe(voting=KOfN(k=2))))
    line.take(arrival(), inspection("left", defect()), *views("middle", "right"))
    assert line.decision.verdict.verdict is VerdictValue.OK
    assert [event.verdict for event in line.decision.defects] == [VerdictValue.OK]


@pytest.mark.parametrize("fail_safe", list(FailSafe))
def test_at_the_deadline_a_missing_view_makes_it_not_decidable_and_the_fail_safe_acts(fail_safe: FailSafe) -> None:
    line = Line(plant(recipe(fail_safe=fail_safe)))
    line.take(arrival(), *views("left", "right"))
    assert not line.tick(DUE - 1)
    line.tick(DUE)
    verdict = line.decision.verdict
    assert (verdict.verdict, verdict.action) == (VerdictValue.NOT_DECIDABLE, fail_safe)
    assert verdict.reasons == (VerdictReason.DEADLINE, VerdictReason.MISSING_VIEW)
    assert [(view.view, view.outcome) for view in verdict.views] == [
        ("left", "inspected"),
        ("middle", "missing"),
        ("right", "inspected"),
    ]
    assert "middle" in verdict.detail
    assert line.decision.command is not None
    assert line.decision.command.action is fail_safe


def test_the_deadline_counts_from_the_brokers_time_whatever_the_plc_says() -> None:
    line = Line()
    line.take(arrival(occurred_at_ns=T0 - 600 * S))
    assert line.noticed == ["clock_skew"]
    assert not line.tick(DUE - 1)
    assert len(line.tick(DUE)) == 1
    assert line.decision.triggered_at_ns == T0


def test_an_inspection_at_the_deadline_is_late_although_no_tick_came_before_it() -> None:
    line = Line()
    line.take(arrival(), *views("left", "middle"))
    line.take(inspection("right"), now=DUE)
    assert line.decision.verdict.reasons == (VerdictReason.DEADLINE, VerdictReason.MISSING_VIEW)
    assert line.noticed == ["late"]
    assert line.released == [0, 1, 2, 3]


def test_defects_seen_make_it_not_ok_although_a_view_is_missing_at_the_deadline() -> None:
    line = Line()
    line.take(arrival(), inspection("left", defect()))
    line.tick(DUE)
    assert line.decision.verdict.verdict is VerdictValue.NOT_OK
    assert line.decision.verdict.reasons == (
        VerdictReason.DEFECT,
        VerdictReason.DEADLINE,
        VerdictReason.MISSING_VIEW,
    )


def test_a_dropped_view_does_not_wait_for_the_deadline() -> None:
    line = Line()
    line.take(arrival(), inspection("left", dropped="undecodable_image"), *views("middle", "right"))
    assert line.decision.verdict.verdict is VerdictValue.NOT_DECIDABLE
    assert line.decision.verdict.reasons == (VerdictReason.VIEW_DROPPED,)
    assert line.decision.verdict.detail == "dropped: left (undecodable_image)"


def test_a_defect_goes_before_a_dropped_view() -> None:
    line = Line()
    line.take(arrival(), inspection("left", dropped="model_failed"), *views("middle"), inspection("right", defect()))
    assert line.decision.verdict.verdict is VerdictValue.NOT_OK
    assert line.decision.verdict.reasons == (VerdictReason.DEFECT, VerdictReason.VIEW_DROPPED)


def test_an_optional_view_is_judged_where_it_came_and_not_waited_for() -> None:
    description = plant(recipe(views=(View(name="left"), View(name="right", required=False))))
    without, with_it = Line(description), Line(description)
    without.take(arrival(views=()), inspection("left"))
    assert without.decision.verdict.verdict is VerdictValue.OK
    with_it.take(inspection("right", defect()), arrival(views=()), inspection("left"))
    assert with_it.decision.verdict.verdict is VerdictValue.NOT_OK


def test_a_recipe_that_requires_no_view_does_not_pass_what_nobody_looked_at() -> None:
    line = Line(plant(recipe(views=(View(name="left", required=False), View(name="right", required=False)))))
    assert not line.take(arrival(views=()), inspection("left"))
    line.take(inspection("right"))
    assert line.decision.verdict.verdict is VerdictValue.OK


def test_a_recipe_without_deadline_waits_and_its_command_lives_for_a_minute() -> None:
    line = Line(plant(recipe(deadline_ms=None)))
    line.take(arrival(), *views("left", "middle"))
    assert not line.tick(T0 + 7 * 24 * 3_600 * S)
    line.take(inspection("right"), now=T0 + 3_600 * S)
    assert line.decision.verdict.verdict is VerdictValue.OK
    assert line.decision.verdict.due_at_ns is None
    assert line.decision.command is not None
    assert line.decision.command.valid_until_ns == T0 + 3_660 * S


@pytest.mark.parametrize(
    ("now", "commanded"), [(DUE, True), (GATE - 1, True), (GATE, False), (GATE + 3_600 * S, False)]
)
def test_a_part_first_seen_after_its_deadline_is_for_the_record_and_past_the_gate_without_command(
    now: int, commanded: bool
) -> None:
    line = Line()
    line.take(inspection("left", defect()), arrival(), now=now)
    assert line.decision.verdict.verdict is VerdictValue.NOT_DECIDABLE
    assert line.decision.verdict.reasons[0] is VerdictReason.DEADLINE
    assert line.decision.verdict.views[0].defects == (defect(),)
    assert (line.decision.command is not None) is commanded


def test_a_part_that_has_left_gets_its_verdict_and_no_command() -> None:
    line = Line()
    line.take(arrival(), left(), *views(*VIEWS))
    assert line.decision.verdict.verdict is VerdictValue.OK
    assert line.decision.command is None


def test_a_station_without_plc_gets_no_commands() -> None:
    line = Line(plant(plc=False))
    line.take(arrival(), *views(*VIEWS))
    assert line.decision.command is None


def test_inspections_that_come_before_their_part_wait_for_it() -> None:
    line = Line()
    assert not line.take(*views("right", "left"))
    line.take(arrival(), inspection("middle"))
    assert line.decision.verdict.verdict is VerdictValue.OK
    assert line.judge.early_inspections == 0


def test_an_inspection_whose_part_never_comes_is_refused_after_the_grace() -> None:
    line = Line(limits=JudgeLimits(early_grace_ms=5_000))
    line.take(inspection("left"), now=T0)
    assert not line.tick(T0 + 5 * S - 1)
    (refusal,) = line.tick(T0 + 5 * S)
    assert isinstance(refusal, Refusal)
    assert refusal.refused.reason is RefusalReason.UNKNOWN_PART
    assert "SN-1" in refusal.refused.detail


def test_a_flood_of_inspections_without_parts_is_bounded_in_bytes_oldest_first() -> None:
    line = Line(limits=JudgeLimits(early_bytes=10_000))
    line.take(*(inspection("left", part_id=f"SN-{n}") for n in range(25)), size=1_000)
    assert line.judge.early_inspections == 10
    assert [item.source for item in line.of(Refusal)] == list(range(15))


def test_parts_that_wait_for_ever_are_bounded_in_bytes_oldest_first() -> None:
    line = Line(plant(recipe(deadline_ms=None)), limits=JudgeLimits(open_bytes=10_000))
    line.take(*(arrival(f"SN-{n}") for n in range(12)), size=1_000)
    assert line.judge.open_parts == 10
    assert [item.verdict.part_id for item in line.of(Decision)] == ["SN-0", "SN-1"]
    assert {item.verdict.reasons for item in line.of(Decision)} == {(VerdictReason.MISSING_VIEW,)}


def test_duplicates_second_frames_and_late_ones_are_told_apart_and_change_nothing() -> None:
    line = Line()
    line.take(arrival(), arrival(), arrival(recipe="board-b@1"), *views("left", "left"))
    line.take(inspection("left", defect(), sequence=7), *views("middle", "right"))
    assert line.decision.verdict.verdict is VerdictValue.OK
    line.take(*views("left"), inspection("left", defect(), sequence=8), arrival())
    assert line.noticed == ["duplicate", "contradiction", "duplicate", "second_frame", "duplicate", "late", "duplicate"]
    assert line.released == list(range(11))


def test_a_deferred_frame_is_a_dropped_view_with_its_reason() -> None:
    line = Line()
    line.take(arrival(), *views("left", "middle"), deferral(inspection("right")))
    verdict = line.decision.verdict
    assert (verdict.verdict, verdict.reasons) == (VerdictValue.NOT_DECIDABLE, (VerdictReason.VIEW_DROPPED,))
    assert verdict.detail == "dropped: right (deferred)"


@pytest.mark.parametrize("known", [True, False], ids=["its part is known", "after a restart"])
def test_a_frame_that_is_inspected_later_changes_nothing_and_waits_for_nothing(known: bool) -> None:
    line = Line()
    if known:
        line.take(arrival(), *views("left", "middle"), deferral(inspection("right")))
    judgements = line.take(backfilled(inspection("right", defect())))
    assert [type(item) for item in judgements] == [Notice, Done]
    assert line.noticed == ["late"]
    assert line.judge.early_inspections == 0
    assert len(line.of(Decision)) == known


def test_the_inspection_of_a_deferred_frame_decides_nothing_although_its_part_still_waits() -> None:
    line = Line()
    line.take(arrival(), deferral(inspection("right")), backfilled(inspection("right", defect())), *views("left"))
    assert not line.of(Decision)
    line.take(*views("middle"))
    assert line.decision.verdict.verdict is VerdictValue.NOT_DECIDABLE


def test_each_visit_of_a_part_is_judged_by_itself() -> None:
    line = Line()
    line.take(arrival(), arrival(visit=2))
    line.take(*(inspection(view, defect(), visit=1) for view in VIEWS))
    line.take(*(inspection(view, visit=2, sequence=1) for view in VIEWS))
    assert [(item.verdict.visit, item.verdict.verdict) for item in line.of(Decision)] == [
        (1, VerdictValue.NOT_OK),
        (2, VerdictValue.OK),
    ]


def test_an_unknown_recipe_is_rejected_at_once_and_its_arrival_dead_lettered() -> None:
    line = Line()
    line.take(arrival(recipe="board-z@9"))
    assert line.decision.verdict.verdict is VerdictValue.NOT_DECIDABLE
    assert line.decision.verdict.reasons == (VerdictReason.UNKNOWN_RECIPE,)
    assert line.decision.command is not None
    assert (line.decision.command.action, line.decision.command.valid_until_ns) == (FailSafe.REJECT, GATE)
    (refusal,) = line.of(Refusal)
    assert refusal.refused.reason is RefusalReason.UNKNOWN_RECIPE
    assert line.released == [0]


def test_an_unknown_station_is_refused() -> None:
    line = Line()
    line.take(arrival(station="nowhere"), inspection("left", station="nowhere"))
    assert {item.refused.reason for item in line.done if isinstance(item, Refusal)} == {RefusalReason.UNKNOWN_STATION}
    assert line.released == [0, 1]


def test_what_went_out_before_a_restart_holds_and_only_what_follows_from_it_is_sent_again() -> None:
    before, after = Line(), Line()
    before.take(arrival(), inspection("left", defect()), *views("middle", "right"))
    after.judge.recall(before.decision.verdict)
    after.take(*views("middle", "right"), arrival(), inspection("left"), now=T0 + 500 * MS)
    assert after.decision.is_on_topic
    assert after.decision.verdict == before.decision.verdict
    assert after.decision.defects == before.decision.defects
    assert after.decision.command == before.decision.command
    assert after.released == [0, 1, 2, 3]


def test_a_command_is_not_sent_again_once_the_part_is_past_the_gate() -> None:
    before, after = Line(), Line()
    before.take(arrival(), *views(*VIEWS))
    after.judge.recall(before.decision.verdict)
    after.take(arrival(), now=GATE)
    assert after.decision.command is None


def test_a_replay_from_beyond_memory_gives_no_second_verdict() -> None:
    line = Line(limits=JudgeLimits(decided_parts=3))
    for n in range(5):
        line.take(
            arrival(f"SN-{n}"), *(inspection(view, part_id=f"SN-{n}") for view in VIEWS), at=T0 + n * S, now=T0 + n * S
        )
    line.take(arrival("SN-0"), at=T0, now=T0 + 9 * S)
    assert [item.verdict.part_id for item in line.of(Decision)] == [f"SN-{n}" for n in range(5)]
    assert line.noticed == ["duplicate"]
