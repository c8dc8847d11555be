"""What becomes of a version on trial: each way in which one can be bad is caught, and a good one comes through."""

from __future__ import annotations

from typing import Any

import pytest
from trial_records import (
    LET_GO,
    MINE,
    NOT_DECIDABLE,
    NOT_OK,
    OK,
    OTHER,
    SINCE_NS,
    answer,
    evidence,
    failure,
    inspection,
    lost,
    of_canary,
    review,
    verdict,
)

from processors.candidate_rules import Decision, Phase, decide
from schemas.learning_settings import LearningSettings
from schemas.message import NS_PER_MS
from schemas.records import ModelChange

LIMITS = LearningSettings(shadow_frames=100, shadow_bad_frames=10, canary_parts=60, probation_parts=80)
LATE_NS = SINCE_NS + (LIMITS.trial_limit_ms + 1) * NS_PER_MS


def after(phase: Phase, records: list[Any], *, now_ns: int = SINCE_NS, from_ns: int = SINCE_NS) -> Decision:
    share = {Phase.SHADOW: 0.0, Phase.CANARY: 0.5, Phase.PROBATION: 1.0}[phase]
    seen = evidence(share_ratio=share, from_ns=from_ns)
    for record in records:
        seen.take(record)
    return decide(phase, seen, LIMITS, now_ns=now_ns)


def unmet(decision: Decision) -> set[str]:
    return {gate.name for gate in decision.gates if not gate.passed}


# --- shadow --------------------------------------------------------------------------------------------------------


def agreeing(count: int = 100) -> list[Any]:
    """Every fifth frame is bad, and both say so."""
    return [answer(part, value, value) for part in range(count) for value in [NOT_OK if part % 5 == 0 else OK]]


def test_a_shadow_that_answers_as_the_line_does_becomes_a_canary() -> None:
    decision = after(Phase.SHADOW, agreeing())
    assert (decision.change, unmet(decision)) == (ModelChange.CANARIED, set())
    assert {gate.name for gate in decision.gates} == {
        "errors_count", "reviewed_p_value", "missed_ratio", "extra_ratio", "slow_ratio",
    }  # fmt: skip


def test_it_waits_for_enough_frames_and_for_enough_bad_ones() -> None:
    assert after(Phase.SHADOW, agreeing(99)).change is None
    decision = after(Phase.SHADOW, [answer(part, OK) for part in range(1_000)])
    assert decision.change is None
    assert "0 of 10" in decision.reason


def test_a_shadow_that_never_gets_enough_is_let_go() -> None:
    decision = after(Phase.SHADOW, agreeing(99), now_ns=LATE_NS)
    assert decision.change is ModelChange.REJECTED
    assert "too little evidence" in decision.reason


def test_one_failure_is_enough() -> None:
    decision = after(Phase.SHADOW, [*agreeing(20), failure(20)])
    assert (decision.change, unmet(decision)) == (ModelChange.REJECTED, {"errors_count"})


def test_a_shadow_that_finds_nothing_is_let_go_before_its_frames_are_full() -> None:
    decision = after(Phase.SHADOW, [answer(part, OK, NOT_OK) for part in range(6)])
    assert (decision.change, unmet(decision)) == (ModelChange.REJECTED, {"missed_ratio"})


def test_a_shadow_that_rejects_good_parts_is_let_go() -> None:
    decision = after(Phase.SHADOW, [*agreeing(20), *(answer(part, NOT_OK) for part in range(20, 26))])
    assert (decision.change, unmet(decision)) == (ModelChange.REJECTED, {"extra_ratio"})


def test_a_ratio_that_may_be_chance_is_waited_for_and_counts_at_the_end() -> None:
    one = [answer(1, OK, NOT_OK), answer(2, NOT_OK)]  # over both limits, of few frames
    assert after(Phase.SHADOW, one).change is None
    few = [answer(part, OK, NOT_OK if part % 5 == 0 and part < 20 else OK) for part in range(90)]
    decision = after(Phase.SHADOW, [*few, *(answer(part, NOT_OK, NOT_OK) for part in range(90, 100))])
    assert (decision.change, unmet(decision)) == (ModelChange.REJECTED, {"missed_ratio"})


def test_a_shadow_that_is_right_but_slow_is_let_go() -> None:
    decision = after(Phase.SHADOW, [answer(part, OK, infer_ms=20.0) for part in range(12)])
    assert (decision.change, unmet(decision)) == (ModelChange.REJECTED, {"slow_ratio"})
    assert after(Phase.SHADOW, [answer(part, OK, infer_ms=12.0) for part in range(12)]).change is None, (
        "5 ms are the machine"
    )


def test_where_people_agree_with_the_shadow_the_line_was_wrong() -> None:
    overkill = [answer(part, OK, NOT_OK if part % 2 else OK) for part in range(100)]
    assert after(Phase.SHADOW, overkill).change is ModelChange.REJECTED
    decision = after(Phase.SHADOW, [*overkill, *(review(part, OK) for part in range(100))])
    assert decision.change is ModelChange.CANARIED, "a champion that drifted must not stop who is better"
    confirmed = after(Phase.SHADOW, [*overkill, *(review(part, NOT_OK if part % 2 else OK) for part in range(100))])
    assert {"missed_ratio", "reviewed_p_value"} == unmet(confirmed)


def test_answers_of_another_version_do_not_count() -> None:
    other = [answer(part, OK, NOT_OK, version=7) for part in range(100)]
    assert after(Phase.SHADOW, other).reason.startswith("0 of 100")


# --- canary --------------------------------------------------------------------------------------------------------


def judged(count: int = 160, *, mine: int = 5, others: int = 5, **more: Any) -> list[Any]:
    """Parts of both versions; every `mine`-th of the version on trial is bad, every `others`-th of the rest (0: none)."""
    found: list[Any] = []
    for part in range(count):
        version, every = (MINE, mine) if of_canary(part) else (OTHER, others)
        found.append(verdict(part, version, NOT_OK if every and part % every == 0 else OK, **more))
        found.append(inspection(part, version))
    return found


def test_a_canary_that_judges_as_the_champion_does_is_promoted() -> None:
    decision = after(Phase.CANARY, judged())
    assert (decision.change, unmet(decision)) == (ModelChange.PROMOTED, set())


def test_it_waits_for_enough_parts_and_not_for_ever() -> None:
    assert after(Phase.CANARY, judged(80)).change is None
    decision = after(Phase.CANARY, judged(80), now_ns=LATE_NS)
    assert decision.change is ModelChange.ROLLED_BACK


def test_it_waits_for_others_to_be_compared_with() -> None:
    mine = [verdict(part, MINE) for part in range(200) if of_canary(part)]
    others = [verdict(part, OTHER) for part in range(40) if not of_canary(part)]
    assert after(Phase.CANARY, [*mine, *others]).change is None


def test_a_canary_that_rejects_more_is_rolled_back_as_soon_as_it_is_no_chance() -> None:
    decision = after(Phase.CANARY, judged(60, mine=2, others=20))
    assert (decision.change, unmet(decision)) == (ModelChange.ROLLED_BACK, {"overkill_p_value"})


def test_a_canary_that_passes_everything_is_rolled_back() -> None:
    decision = after(Phase.CANARY, judged(120, mine=0, others=3))
    assert (decision.change, unmet(decision)) == (ModelChange.ROLLED_BACK, {"missed_p_value"})


def test_what_people_confirm_explains_the_difference() -> None:
    records = judged(160, mine=2, others=20)
    confirmed = [review(each, NOT_OK) for each in range(160) if of_canary(each) and each % 2 == 0]
    assert unmet(after(Phase.CANARY, [*records, *confirmed])) == set()
    records = judged(160, mine=0, others=2)
    overkill = [review(each, OK) for each in range(160) if not of_canary(each) and each % 2 == 0]
    assert unmet(after(Phase.CANARY, [*records, *overkill])) == set()


def test_a_canary_with_which_people_disagree_is_rolled_back() -> None:
    contradicted = [
        review(part, OK if part % 5 == 0 and of_canary(part) else NOT_OK if part % 5 == 0 else OK)
        for part in range(160)
    ]
    decision = after(Phase.CANARY, [*judged(), *contradicted])
    assert "reviewed_p_value" in unmet(decision)


def test_a_frame_that_is_lost_by_the_canary_takes_it_back() -> None:
    part = next(part for part in range(160, 200) if of_canary(part))
    decision = after(Phase.CANARY, [*judged(60), lost(part)])
    assert (decision.change, unmet(decision)) == (ModelChange.ROLLED_BACK, {"errors_count"})


def test_so_does_one_that_the_champion_judged_in_its_place_and_one_of_another_version_does_not() -> None:
    part = next(part for part in range(160, 200) if of_canary(part))
    decision = after(Phase.CANARY, [*judged(60), inspection(part, OTHER, in_place_of=MINE)])
    assert (decision.change, unmet(decision)) == (ModelChange.ROLLED_BACK, {"errors_count"})
    other = inspection(part, OTHER, in_place_of=LET_GO)
    assert after(Phase.CANARY, [*judged(), other]).change is ModelChange.PROMOTED


def test_frames_that_the_champion_loses_too_do_not() -> None:
    assert after(Phase.CANARY, [*judged(), *map(lost, range(160, 200))]).change is ModelChange.PROMOTED
    part = next(part for part in range(160, 200) if not of_canary(part))
    assert after(Phase.CANARY, [*judged(), lost(part)]).change is ModelChange.PROMOTED


def test_what_another_model_loses_is_not_its_fault() -> None:
    others = [lost(part, recipe="another@1") for part in range(160, 200) if of_canary(part)]
    undecided = [verdict(part, 0, NOT_DECIDABLE, recipe="another@1") for part in range(200, 260) if of_canary(part)]
    assert after(Phase.CANARY, [*judged(), *others, *undecided]).change is ModelChange.PROMOTED


def test_parts_of_a_version_that_was_let_go_are_not_compared_with() -> None:
    strict = [verdict(part, LET_GO, NOT_OK) for part in range(1_000, 1_200)]
    assert after(Phase.CANARY, [*judged(), *strict]).change is ModelChange.PROMOTED


def test_what_was_judged_before_does_not_take_the_room_of_what_is_on_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.trial_evidence.MOST_KEPT", 50)
    records = [inspection(part, OTHER) for part in range(200)]
    late = next(part for part in range(200, 300) if of_canary(part))
    assert after(Phase.CANARY, [*records, lost(late)]).change is ModelChange.ROLLED_BACK


def test_a_canary_that_is_slow_is_rolled_back() -> None:
    slow = [
        inspection(part, MINE if of_canary(part) else OTHER, infer_ms=40.0 if of_canary(part) else 5.0)
        for part in range(60)
    ]
    verdicts = [each for each in judged(60) if not hasattr(each, "outcome")]
    decision = after(Phase.CANARY, [*verdicts, *slow])
    assert (decision.change, unmet(decision)) == (ModelChange.ROLLED_BACK, {"slow_p_value"})


def test_a_canary_whose_parts_get_no_verdict_in_time_is_rolled_back() -> None:
    undecided = [verdict(part, 0, NOT_DECIDABLE) if of_canary(part) else verdict(part, OTHER) for part in range(60)]
    decision = after(Phase.CANARY, undecided)
    assert (decision.change, unmet(decision)) == (ModelChange.ROLLED_BACK, {"undecided_p_value"})


def test_challenges_reviews_of_the_line_and_parts_of_two_versions_are_no_parts_of_a_trial() -> None:
    made_bad = [
        verdict(part, MINE if of_canary(part) else OTHER, NOT_OK if of_canary(part) else OK, challenge="c")
        for part in range(160)
    ]
    assert after(Phase.CANARY, made_bad).reason.startswith("0 parts, 0 beside")


# --- probation -----------------------------------------------------------------------------------------------------


def promoted(count: int, *, before: int, every: int, every_before: int) -> list[Any]:
    """Parts of the version before, up to the promotion, then of the new champion."""
    earlier = [
        verdict(part, OTHER, NOT_OK if part % every_before == 0 else OK, at_ns=SINCE_NS - 1_000 + part)
        for part in range(before)
    ]
    return [
        *earlier,
        *(verdict(part, MINE, NOT_OK if part % every == 0 else OK) for part in range(1_000, 1_000 + count)),
    ]


def test_a_champion_that_turns_out_worse_is_rolled_back() -> None:
    decision = after(Phase.PROBATION, promoted(40, before=200, every=2, every_before=10), from_ns=0)
    assert (decision.change, unmet(decision)) == (ModelChange.ROLLED_BACK, {"overkill_p_value"})


def test_probation_is_over_after_its_parts_whatever_comes_then() -> None:
    good = promoted(80, before=200, every=10, every_before=10)
    decision = after(Phase.PROBATION, good, from_ns=0)
    assert (decision.change, decision.over) == (None, True)
    later = [verdict(part, MINE, NOT_OK) for part in range(2_000, 2_200)]
    assert after(Phase.PROBATION, [*later, *good], from_ns=0) == decision, (
        "as well after a restart that reads all of it at once"
    )


def test_probation_ends_in_time_and_loses_nothing_for_lack_of_parts() -> None:
    decision = after(Phase.PROBATION, promoted(10, before=200, every=10, every_before=10), from_ns=0, now_ns=LATE_NS)
    assert (decision.change, decision.over) == (None, True)


@pytest.mark.parametrize("phase", Phase)
def test_without_evidence_nothing_happens(phase: Phase) -> None:
    decision = after(phase, [])
    assert (decision.change, decision.over) == (None, False)
