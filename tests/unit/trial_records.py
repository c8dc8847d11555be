"""Records of a trial for tests: version 2 of `spots` beside version 1, as `inspect`, the judge and people write them."""

from __future__ import annotations

from typing import Any

from processors.trial_evidence import Trial, TrialEvidence
from processors.version_choice import in_canary
from schemas.inspections import Inspection, ModelUse, Timings
from schemas.reasons import FailSafe, FrameOutcome, RefusalReason, VerdictValue
from schemas.records import Review
from schemas.shadows import ShadowAnswer, shadow_id
from schemas.verdicts import Verdict, verdict_id

MODEL, MINE, OTHER, LET_GO = "spots", 3, 1, 2
SINCE_NS = 1_000_000
OK, NOT_OK, NOT_DECIDABLE = VerdictValue.OK, VerdictValue.NOT_OK, VerdictValue.NOT_DECIDABLE


def evidence(*, share_ratio: float = 0.5, from_ns: int = SINCE_NS) -> TrialEvidence:
    trial = Trial(
        model=MODEL,
        version=MINE,
        since_ns=SINCE_NS,
        share_ratio=share_ratio,
        views=frozenset({("disc@1", "top")}),
        let_go=frozenset({LET_GO}),
    )
    return TrialEvidence(trial, from_ns=from_ns)


def use(version: int) -> tuple[ModelUse, ...]:
    return (ModelUse(model=MODEL, version=version, digest=f"sha256:{version}"),) if version else ()


def answer(part: int, decision: VerdictValue, line: VerdictValue = OK, **more: Any) -> ShadowAnswer:
    inspection = f"top/s/{part}"
    return ShadowAnswer(
        id=shadow_id(inspection=inspection, model=MODEL, version=more.get("version", MINE)), station="cut", camera="top", view="top",
        part_id=str(part), visit=1, recipe="disc@1", inspection=inspection, model=MODEL, digest="", beside=OTHER, decision=decision,
        line_decision=line, answered_at_ns=SINCE_NS + part, **{"version": MINE, "infer_ms": 5.0, "line_infer_ms": 5.0, **more},
    )  # fmt: skip


def failure(part: int, line: VerdictValue = OK) -> ShadowAnswer:
    return answer(part, NOT_DECIDABLE, line, error="it came to grief")


def inspection(
    part: int, version: int, *, infer_ms: float = 5.0, lost: str = "", recipe: str = "disc@1", in_place_of: int = 0
) -> Inspection:
    return Inspection(
        id=f"top/s/{part}", station="cut", camera="top", view="top", session="s", sequence=part, part_id=str(part), visit=1, recipe=recipe,
        outcome=FrameOutcome.DROPPED if lost else FrameOutcome.INSPECTED, reason=lost or None, models=use(version),
        inspected_at_ns=SINCE_NS + part, timings=Timings(infer_ms=infer_ms), failed_models=use(in_place_of),
    )  # fmt: skip


def verdict(part: int, version: int, value: VerdictValue = OK, *, at_ns: int | None = None, **more: Any) -> Verdict:
    return Verdict(
        id=verdict_id(station="cut", part_id=str(part), visit=1, revision=1), station="cut", line="l", part_id=str(part),
        visit=1, revision=1, verdict=value, action=FailSafe.PASS, arrived_at_ns=1, models=use(version),
        decided_at_ns=SINCE_NS + part if at_ns is None else at_ns, **{"recipe": "disc@1", **more},
    )  # fmt: skip


def review(part: int, value: VerdictValue, *, at_ns: int = 1) -> Review:
    return Review(
        id=f"cut/{part}/1/anna/{at_ns}", station="cut", part_id=str(part), visit=1, reviewer="anna", reviewed_at_ns=at_ns,
        verdict=value,
    )  # fmt: skip


def lost(part: int, *, recipe: str = "disc@1") -> Inspection:
    """A frame that its model could not stand."""
    return inspection(part, 0, lost=RefusalReason.MODEL_FAILED, recipe=recipe)


def of_canary(part: int, share_ratio: float = 0.5) -> bool:
    return in_canary(model=MODEL, version=MINE, part=f"cut/{part}", share_ratio=share_ratio)
