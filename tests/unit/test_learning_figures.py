"""What a run of `demo-learning` counts, and when it says that it has shown what it is for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_events import MODEL, run_event, version_event

from processors.learning_figures import POINT_PARTS, JudgedPart, fell_short, learning_figures
from schemas.alerts import DriftEvidence, RetrainingTrigger
from schemas.reasons import VerdictValue
from schemas.records import ModelChange, ModelEvent

OK, NOT_OK, NOT_DECIDABLE = VerdictValue.OK, VerdictValue.NOT_OK, VerdictValue.NOT_DECIDABLE
S_NS = 1_000_000_000
REQUEST = RetrainingTrigger(
    id=f"{MODEL}/reviews/{60 * S_NS}", model=MODEL, cause="reviews", station="aoi-1", fired_at_ns=60 * S_NS,
    evidence=(DriftEvidence(statistic="review_disagreement_ratio", baseline=0.0, observed=0.4, threshold=0.3, sample_size=50),),
)  # fmt: skip
HISTORY = [
    run_event(ModelChange.RUN_STARTED, 61 * S_NS, 61 * S_NS, trigger=REQUEST.id),
    run_event(ModelChange.TRAINING, 61 * S_NS, 70 * S_NS),
    version_event(ModelChange.RELEASED, 2, 80 * S_NS),
    version_event(ModelChange.SHADOWED, 2, 81 * S_NS),
    version_event(ModelChange.CANARIED, 2, 90 * S_NS, share_ratio=0.3),
    version_event(ModelChange.PROMOTED, 2, 100 * S_NS),
]


def part(
    second: int,
    verdict: VerdictValue = OK,
    *,
    version: int = 1,
    bad: bool = False,
    failed: bool = False,
    took_ms: int = 50,
) -> JudgedPart:
    return JudgedPart(
        arrived_at_ns=second * S_NS, decided_at_ns=second * S_NS + took_ms * 1_000_000, verdict=verdict,
        versions=frozenset({version}), is_bad=bad, lamp_failed=failed,
    )  # fmt: skip


def a_run() -> list[JudgedPart]:
    """A part a second: at 40 s the lamp fails, and half of the good parts are rejected; at 100 s version 2 takes over."""
    before = [part(second) for second in range(40)]
    failed = [part(second, NOT_OK if second % 2 else OK, failed=True) for second in range(40, 100)]
    after = [part(second, version=2, failed=True) for second in range(100, 140)]
    return before + failed + after


def report(figures: dict[str, Any], **changed: Any) -> dict[str, Any]:
    whole = {
        "learning": figures,
        "frames": {"dropped": {}},
        "parts": {"not_decidable": 0},
        "commands": {"failed": 0},
        "ledger": {"balanced": True},
    }
    return {**whole, **changed}


def test_degradation_and_recovery_are_counted_by_light_and_version() -> None:
    figures = learning_figures(a_run(), HISTORY, [REQUEST], model=MODEL)
    assert [(each["name"], each["parts"], each["overkill"]) for each in figures["stretches"]] == [
        ("light as learned, version 1", 40, 0),
        ("lamp failed, version 1", 60, 30),
        ("lamp failed, version 2", 40, 0),
    ]
    assert figures["lamp_failed_at_part"] == 40
    assert figures["trigger"]["after_part"] == 61
    assert figures["promoted_version"] == 2
    assert figures["trigger_to_promoted_s"] == 40.0
    assert [step["change"] for step in figures["steps"]] == [
        "run_started", "released", "shadowed", "canaried", "promoted",
    ]  # fmt: skip
    assert fell_short(report(figures)) == ()


def test_an_escape_is_wrong_and_so_is_a_good_part_that_nobody_decided() -> None:
    parts = [part(1, OK, bad=True), part(2, NOT_DECIDABLE), part(3, NOT_OK, bad=True), part(4, NOT_DECIDABLE, bad=True)]
    (stretch,) = learning_figures(parts, [], [], model=MODEL)["stretches"]
    assert (stretch["escapes"], stretch["overkill"], stretch["wrong_ratio"]) == (1, 1, 0.5)


@given(st.lists(st.booleans(), max_size=200))
def test_every_part_is_in_one_stretch_and_wrong_ones_add_up(wrong: list[bool]) -> None:
    parts = [part(n, NOT_OK if is_wrong else OK, version=1 + n % 3, failed=n > 50) for n, is_wrong in enumerate(wrong)]
    figures = learning_figures(parts, [], [], model=MODEL)
    assert sum(each["parts"] for each in figures["stretches"]) == len(wrong)
    assert sum(each["overkill"] for each in figures["stretches"]) == sum(wrong)
    shown = sum(each["parts"] for each in figures["points"])
    assert len(wrong) - shown < POINT_PARTS / 2


def test_verdicts_are_timed_by_what_went_on() -> None:
    parts = [*(part(second) for second in range(61)), *(part(second, took_ms=90) for second in range(61, 80))]
    parts += [part(second, NOT_DECIDABLE, took_ms=1000) for second in range(80, 82)]
    phases = learning_figures(parts, HISTORY, [REQUEST], model=MODEL)["phases"]
    assert [(each["name"], each["parts"], each["p95_ms"], each["not_decidable"]) for each in phases] == [
        ("before", 61, 50.0, 0), ("training", 19, 90.0, 0), ("released", 1, 1000.0, 1), ("shadow", 1, 1000.0, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"frames": {"dropped": {"capture_failed": 2}}}, "2 frames were dropped"),
        ({"parts": {"not_decidable": 1}}, "1 parts had no verdict in time"),
        ({"commands": {"failed": 3}}, "3 verdicts did not reach the PLC in time"),
        ({"ledger": {"balanced": False}}, "the ledger does not balance"),
    ],
)
def test_a_part_that_the_swap_cost_is_told(changed: dict[str, Any], told: str) -> None:
    figures = learning_figures(a_run(), HISTORY, [REQUEST], model=MODEL)
    assert fell_short(report(figures, **changed)) == (told,)


def test_a_candidate_that_was_let_go_is_no_success() -> None:
    gone = [*HISTORY[:5], version_event(ModelChange.ROLLED_BACK, 2, 95 * S_NS)]
    figures = learning_figures(a_run()[:100], gone, [REQUEST], model=MODEL)
    assert fell_short(report(figures)) == ("no version that was promoted judges parts in the end",)


def test_a_champion_that_was_taken_back_is_none() -> None:
    back = [*HISTORY, version_event(ModelChange.ROLLED_BACK, 2, 130 * S_NS)]
    assert learning_figures(a_run(), back, [REQUEST], model=MODEL)["promoted_version"] is None


def test_a_run_without_a_request_says_so() -> None:
    figures = learning_figures(a_run()[:100], [], [], model=MODEL)
    assert fell_short(report(figures))[0] == "no request for training was made"


def test_a_light_that_did_not_matter_shows_nothing() -> None:
    parts = [*a_run()[:40], *(part(second, failed=True) for second in range(40, 100)), *a_run()[100:]]
    told = fell_short(report(learning_figures(parts, HISTORY, [REQUEST], model=MODEL)))
    assert told == (
        "the champion judged as well with the failed lamp as before",
        "the promoted version judges no better than the one before it",
    )


def test_a_successor_that_judged_a_handful_of_parts_proves_nothing() -> None:
    told = fell_short(report(learning_figures(a_run()[:105], HISTORY, [REQUEST], model=MODEL)))
    assert told == ("fewer than 20 parts were judged by the promoted version",)


def test_other_models_are_none_of_its_business() -> None:
    others = [ModelEvent(**{**as_dict(event), "model": "another"}) for event in HISTORY]
    figures = learning_figures(a_run(), others, [], model=MODEL)
    assert (figures["steps"], figures["trigger"], figures["promoted_version"]) == ([], None, None)


def as_dict(event: ModelEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}
