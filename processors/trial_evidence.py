"""What live parts say of a version: its shadow's answers, the frames and parts that it judged, and what people said of these.

A fold in which neither the order of records nor their repetition matters: each thing is kept once, under its id, and what follows is
computed from all of them (`candidate_rules`). It is bounded by `MOST_KEPT` of each kind, of the version on trial and of the others, far
more than a trial needs; what comes then is left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from processors.part_state import PartVisit
from processors.version_choice import in_canary
from schemas.inspections import Inspection
from schemas.reasons import FrameOutcome, RefusalReason, VerdictValue
from schemas.records import Review
from schemas.shadows import ShadowAnswer
from schemas.verdicts import Verdict

MOST_KEPT = 20_000
MODEL_FAULTS = (RefusalReason.MODEL_FAILED.value, RefusalReason.INSPECTION_FAILED.value)
"""Why a frame was lost through the model that was asked."""

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A version and what it is doing since `since_ns`: judging a share of the parts, all of them, or none (in shadow: 0).

    `views` are those that the model inspects, each as (recipe, view). Nothing is compared with what `let_go` versions judged.
    """

    model: str
    version: int
    since_ns: int
    share_ratio: float
    views: frozenset[tuple[str, str]]
    let_go: frozenset[int] = frozenset()


class Answer(NamedTuple):
    """A shadow's answer beside the line's."""

    visit: PartVisit
    decision: VerdictValue
    line_decision: VerdictValue
    infer_ms: float
    line_infer_ms: float
    failed: bool


class Look(NamedTuple):
    """A frame of a judged part."""

    mine: bool
    failed: bool
    infer_ms: float


class Judged(NamedTuple):
    """A part as the line judged it."""

    mine: bool
    verdict: VerdictValue
    decided_at_ns: int


class TrialEvidence:
    """Of one trial. Of the other versions what they judged from `from_ns` on, to compare with."""

    def __init__(self, trial: Trial, *, from_ns: int) -> None:
        self.trial = trial
        self._from_ns = from_ns
        self.answers: dict[str, Answer] = {}
        self.looks: dict[str, Look] = {}
        self.parts: dict[PartVisit, Judged] = {}
        self._reviews: dict[PartVisit, tuple[int, str, VerdictValue]] = {}
        self._recipes = {recipe for recipe, _ in trial.views}
        self._room: Counter[tuple[str, bool]] = Counter()

    def take(self, message: ShadowAnswer | Inspection | Verdict | Review) -> None:
        """Takes the next record of whatever topic; what says nothing about this trial changes nothing."""
        match message:
            case ShadowAnswer():
                self._shadow_answered(message)
            case Inspection():
                self._inspected(message)
            case Verdict():
                self._judged(message)
            case Review():
                self._reviewed(message)

    def review(self, visit: PartVisit) -> VerdictValue | None:
        """What people said last of a part: OK or NOT_OK."""
        known = self._reviews.get(visit)
        return None if known is None else known[2]

    def _shadow_answered(self, answer: ShadowAnswer) -> None:
        if (answer.model, answer.version) != (self.trial.model, self.trial.version):
            return
        visit = PartVisit(answer.station, answer.part_id, answer.visit)
        self._keep(self.answers, answer.id, True, Answer(
            visit, answer.decision, answer.line_decision, answer.infer_ms, answer.line_infer_ms, bool(answer.error)
        ))  # fmt: skip

    def _inspected(self, inspection: Inspection) -> None:
        versions = {use.version for use in inspection.models if use.model == self.trial.model}
        failed = inspection.outcome is FrameOutcome.DROPPED and inspection.reason in MODEL_FAULTS
        of_model = versions or (failed and (inspection.recipe, inspection.view) in self.trial.views)
        if not of_model or inspection.is_deferral:
            return
        part = f"{inspection.station}/{inspection.part_id}"
        if (self.trial.model, self.trial.version) in {(use.model, use.version) for use in inspection.failed_models}:
            versions, failed = {self.trial.version}, True  # another one answered in its place
        mine = self._mine(versions, part, inspection.inspected_at_ns)
        if mine is not None:
            self._keep(self.looks, inspection.id, mine, Look(mine, failed, inspection.timings.infer_ms))

    def _judged(self, verdict: Verdict) -> None:
        if verdict.revision != 1 or verdict.challenge:
            return
        versions = {use.version for use in verdict.models if use.model == self.trial.model}
        if not versions and (verdict.models or verdict.recipe not in self._recipes):
            return  # of a recipe without this model
        mine = self._mine(versions, f"{verdict.station}/{verdict.part_id}", verdict.decided_at_ns)
        if mine is not None:
            visit = PartVisit(verdict.station, verdict.part_id, verdict.visit)
            self._keep(self.parts, visit, mine, Judged(mine, verdict.verdict, verdict.decided_at_ns))

    def _reviewed(self, review: Review) -> None:
        if review.verdict is VerdictValue.NOT_DECIDABLE:
            return
        visit = PartVisit(review.station, review.part_id, review.visit)
        said = (review.reviewed_at_ns, review.id, review.verdict)
        if said > self._reviews.get(visit, (-1, "", VerdictValue.OK)) and (
            visit in self._reviews or len(self._reviews) < MOST_KEPT
        ):
            self._reviews[visit] = said

    def _mine(self, versions: set[int], part: str, at_ns: int) -> bool | None:
        """Whether the version judged it, or another one did; None where that does not matter.

        What no version could judge is counted for the version whose turn it was, which the share says. Of a moment of change, when views
        of one part met two versions, nothing is learned.
        """
        trial = self.trial
        if at_ns < self._from_ns or len(versions) > 1 or versions & trial.let_go:
            return None
        if versions:
            mine = versions == {trial.version}
        else:
            mine = at_ns >= trial.since_ns and in_canary(
                model=trial.model, version=trial.version, part=part, share_ratio=trial.share_ratio
            )
        return None if mine and at_ns < trial.since_ns else mine

    def _keep(self, kept: dict[Key, Value], key: Key, mine: bool, value: Value) -> None:
        room = (type(value).__name__, mine)  # what others judged before must not take the room of what is on trial
        if key not in kept and self._room[room] < MOST_KEPT:
            kept[key] = value
            self._room[room] += 1
