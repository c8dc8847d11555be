"""What becomes of a version on trial, by what live parts say of it: a pure function of the evidence and the plant file's limits.

    shadow      -> canary       enough frames, and it answers as the line does, as quickly, without errors
                -> rejected     as soon as one limit is certainly not kept, or at the end if it is not
    canary      -> promoted     enough parts, and none of the tests against the parts of the same time speaks against it
                -> rolled back  as soon as one does
    probation   -> rolled back  the same, of the new champion against what judged before it; over after its first `probation_parts`

Too little evidence after `trial_limit_ms` is evidence enough: the version is let go. Every decision carries its gates: what was
counted, the limit, and how it came out.

"Certainly" is an exact one-sided test at `p_value`. It is asked again with every record, so that a harmless version is let go
more often than the p-value says; what that costs is a training run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from processors.part_state import PartVisit
from processors.trial_evidence import Judged, TrialEvidence
from processors.trial_tests import Share, p_above, p_fewer, p_more
from schemas.learning_settings import LearningSettings
from schemas.message import NS_PER_MS
from schemas.reasons import VerdictValue
from schemas.records import Gate, ModelChange

OK, NOT_OK, NOT_DECIDABLE = VerdictValue.OK, VerdictValue.NOT_OK, VerdictValue.NOT_DECIDABLE
GRAIN_MS = 5.0
"""Differences below it are those of the machine: a shadow is asked by another client than the line."""
HALF = 0.5


class Phase(StrEnum):
    """What a version on trial is doing."""

    SHADOW = "shadow"
    CANARY = "canary"
    PROBATION = "probation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The step that is due, None where none is. `over`: no evidence can change it any more."""

    change: ModelChange | None
    reason: str
    gates: tuple[Gate, ...] = ()
    over: bool = False


def decide(phase: Phase, evidence: TrialEvidence, limits: LearningSettings, *, now_ns: int) -> Decision:
    """What is due now."""
    late = now_ns - evidence.trial.since_ns > limits.trial_limit_ms * NS_PER_MS
    match phase:
        case Phase.SHADOW:
            return _shadow(evidence, limits, late=late)
        case Phase.CANARY:
            return _canary(evidence, limits, late=late)
        case Phase.PROBATION:
            return _probation(evidence, limits, late=late)


# --- shadow --------------------------------------------------------------------------------------------------------


def _shadow(evidence: TrialEvidence, limits: LearningSettings, *, late: bool) -> Decision:
    answers = list(evidence.answers.values())
    usable = [each for each in answers if not each.failed]
    bad = [each for each in usable if each.line_decision is NOT_OK]
    good = [each for each in usable if each.line_decision is OK]
    missed = [each for each in bad if each.decision is OK and evidence.review(each.visit) is not OK]
    extra = [each for each in good if each.decision is NOT_OK and evidence.review(each.visit) is not NOT_OK]
    slow = [each for each in usable if each.infer_ms > limits.slower_factor * each.line_infer_ms + GRAIN_MS]
    shares = {
        "missed_ratio": (Share(len(missed), len(bad)), limits.missed_ratio),
        "extra_ratio": (Share(len(extra), len(good)), limits.extra_ratio),
        "slow_ratio": (Share(len(slow), len(usable)), HALF),
    }
    failed = Share(len(answers) - len(usable), len(answers))
    gates = [_errors(failed, limits, "frames failed that the line could inspect"), _reviewed_shadow(evidence, limits)]
    for name, (share, limit) in shares.items():
        gates.append(
            Gate(name=name, value=share.ratio, limit=limit, passed=share.ratio <= limit, detail=f"{share} frames")
        )
    certain = [name for name, (share, limit) in shares.items() if p_above(share, limit) < limits.p_value]
    hopeless = [gate for gate in gates if not gate.passed and (gate.name in certain or gate.name not in shares)]
    whole = tuple(gates)
    if hopeless:
        return _against(ModelChange.REJECTED, hopeless, whole)
    if len(usable) >= limits.shadow_frames and len(bad) >= limits.shadow_bad_frames:
        unmet = [gate for gate in gates if not gate.passed]
        if unmet:
            return _against(ModelChange.REJECTED, unmet, whole)
        return Decision(
            change=ModelChange.CANARIED, reason=f"answered {len(usable)} live frames in shadow", gates=whole
        )
    told = f"{len(usable)} of {limits.shadow_frames} frames, {len(bad)} of {limits.shadow_bad_frames} that the line calls NOT_OK"
    return _unfinished(told, whole, late=late, change=ModelChange.REJECTED)


def _reviewed_shadow(evidence: TrialEvidence, limits: LearningSettings) -> Gate:
    """Of the parts that people reviewed: is it wrong where the line is right, more often than the other way round (sign test)."""
    mine: dict[PartVisit, bool] = {}
    line: dict[PartVisit, bool] = {}
    for each in evidence.answers.values():
        mine[each.visit] = mine.get(each.visit, False) or each.decision is NOT_OK
        line[each.visit] = line.get(each.visit, False) or each.line_decision is NOT_OK
    worse = better = 0
    for visit, calls_bad in mine.items():
        truth = evidence.review(visit)
        if truth is not None and calls_bad is not line[visit]:
            right = calls_bad is (truth is NOT_OK)
            worse, better = worse + (not right), better + right
    p = p_above(Share(worse, worse + better), HALF)
    return _tested("reviewed_p_value", p, limits, f"reviewers side with the line {worse} times, with it {better} times")


# --- canary and probation ------------------------------------------------------------------------------------------


def _canary(evidence: TrialEvidence, limits: LearningSettings, *, late: bool) -> Decision:
    mine, others = _parts(evidence, most=None)
    gates = _against_others(evidence, mine, others, limits)
    if against := [gate for gate in gates if not gate.passed]:
        return _against(ModelChange.ROLLED_BACK, against, gates)
    if min(len(mine), len(others)) >= limits.canary_parts:
        reason = f"judged {len(mine)} parts as a canary, beside {len(others)}"
        return Decision(change=ModelChange.PROMOTED, reason=reason, gates=gates)
    told = f"{len(mine)} parts, {len(others)} beside them, of {limits.canary_parts}"
    return _unfinished(told, gates, late=late, change=ModelChange.ROLLED_BACK)


def _probation(evidence: TrialEvidence, limits: LearningSettings, *, late: bool) -> Decision:
    mine, others = _parts(evidence, most=limits.probation_parts)
    gates = _against_others(evidence, mine, others, limits)
    if against := [gate for gate in gates if not gate.passed]:
        return _against(ModelChange.ROLLED_BACK, against, gates)
    over = late or len(mine) >= limits.probation_parts
    return Decision(change=None, reason=f"{len(mine)} of {limits.probation_parts} parts", gates=gates, over=over)


Parts = dict[PartVisit, Judged]


def _parts(evidence: TrialEvidence, *, most: int | None) -> tuple[Parts, Parts]:
    """What the version judged - its first `most` parts by the time of their verdict - and what others did."""
    mine = sorted(
        ((each.decided_at_ns, visit) for visit, each in evidence.parts.items() if each.mine),
        key=lambda each: (each[0], str(each[1])),
    )
    others = {visit: each for visit, each in evidence.parts.items() if not each.mine}
    return {visit: evidence.parts[visit] for _, visit in mine[:most]}, others


def _against_others(evidence: TrialEvidence, mine: Parts, others: Parts, limits: LearningSettings) -> tuple[Gate, ...]:
    """What may speak against the version; what reviewers explain does not."""
    looks = evidence.looks.values()
    my_frames, other_frames = [each for each in looks if each.mine], [each for each in looks if not each.mine]
    failed = Share(sum(each.failed for each in my_frames), len(my_frames))
    others_failed = Share(sum(each.failed for each in other_frames), len(other_frames))
    errors = _errors(failed, limits, f"frames failed; of the others {others_failed}")
    if others_failed.hits and p_more(failed, others_failed) >= limits.p_value:  # pictures that no version can stand
        errors = Gate(name=errors.name, value=errors.value, limit=errors.limit, passed=True, detail=errors.detail)
    found = [errors]
    tests = {
        "overkill_p_value": (p_more, _count(mine, NOT_OK, evidence, unless=NOT_OK), _count(others, NOT_OK), "NOT_OK"),
        "missed_p_value": (p_fewer, _count(mine, NOT_OK), _count(others, NOT_OK, evidence, unless=OK), "NOT_OK"),
        "undecided_p_value": (p_more, _count(mine, NOT_DECIDABLE), _count(others, NOT_DECIDABLE), "NOT_DECIDABLE"),
        "reviewed_p_value": (p_more, _wrong(mine, evidence), _wrong(others, evidence), "reviewed ones judged wrongly"),
    }
    for name, (test, ours, theirs, what) in tests.items():
        found.append(_tested(name, test(ours, theirs), limits, f"{ours} {what}; of the others {theirs}"))
    times_ms = [each.infer_ms for each in other_frames if not each.failed]
    if times_ms:
        limit_ms = limits.slower_factor * median(times_ms) + GRAIN_MS
        timed = [each.infer_ms for each in my_frames if not each.failed]
        slow = Share(sum(each > limit_ms for each in timed), len(timed))
        found.append(_tested("slow_p_value", p_above(slow, HALF), limits, f"{slow} frames took over {limit_ms:.1f} ms"))
    return tuple(found)


def _count(
    parts: Parts, verdict: VerdictValue, evidence: TrialEvidence | None = None, *, unless: VerdictValue | None = None
) -> Share:
    """Parts with this verdict, without those of which people say `unless`."""
    counted = [visit for visit, each in parts.items() if each.verdict is verdict]
    if evidence is not None:
        counted = [visit for visit in counted if evidence.review(visit) is not unless]
    return Share(len(counted), len(parts))


def _wrong(parts: Parts, evidence: TrialEvidence) -> Share:
    reviewed = [(each.verdict, evidence.review(visit)) for visit, each in parts.items()]
    known = [(said, truth) for said, truth in reviewed if truth is not None and said is not NOT_DECIDABLE]
    return Share(sum(said is not truth for said, truth in known), len(known))


# --- what is told --------------------------------------------------------------------------------------------------


def _errors(failed: Share, limits: LearningSettings, what: str) -> Gate:
    passed = failed.hits <= limits.most_errors
    return Gate(
        name="errors_count", value=failed.hits, limit=limits.most_errors, passed=passed, detail=f"{failed} {what}"
    )


def _tested(name: str, p: float, limits: LearningSettings, detail: str) -> Gate:
    """A test that speaks against the version below the p-value."""
    return Gate(name=name, value=p, limit=limits.p_value, passed=p >= limits.p_value, detail=detail)


def _against(change: ModelChange, gates: Iterable[Gate], whole: tuple[Gate, ...]) -> Decision:
    return Decision(change=change, reason="; ".join(f"{gate.name}: {gate.detail}" for gate in gates), gates=whole)


def _unfinished(told: str, gates: tuple[Gate, ...], *, late: bool, change: ModelChange) -> Decision:
    if late:
        return Decision(change=change, reason=f"too little evidence in time: {told}", gates=gates)
    return Decision(change=None, reason=told, gates=gates)
