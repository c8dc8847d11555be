"""The rules of plants/learning.yaml on the parts of its run: a version that learned the new light gets through, a blind one does not.

No services and no torch: the champion rejects every board under the failed lamp, the end-of-line test says so a second later, and a
version on trial answers as its error rates say.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

import pytest

from ops.local.places import CHECKOUT
from processors.candidate_rules import Decision, Phase, decide
from processors.trial_evidence import Trial, TrialEvidence
from processors.version_choice import in_canary
from schemas.inspections import ModelUse
from schemas.plant_file import load_plant
from schemas.reasons import FailSafe, VerdictValue
from schemas.records import ModelChange, Review
from schemas.shadows import ShadowAnswer, shadow_id
from schemas.verdicts import Verdict, verdict_id
from simulation.learning_scenario import learning_plan
from simulation.reviewer import TrueMark, reviews_of

PLANT = load_plant(CHECKOUT / "plants" / "learning.yaml")
LIMITS = PLANT.learning
RECIPE = PLANT.recipes[0]
OK, NOT_OK = VerdictValue.OK, VerdictValue.NOT_OK
PARTS_PER_S = 1.5
MOST_PARTS = 900
S_NS = 1_000_000_000


@dataclass(kw_only=True)
class Line:
    """A line under a failed lamp, and a version on trial. Ratios are of frames: bad ones that it misses, good ones that it rejects."""

    missed_ratio: float
    extra_ratio: float
    seed: int
    review_lag_s: float = 1.0

    def trial(self, phase: Phase) -> Decision:
        """What the rules decide of the version in this phase; a decision without a change where they never did."""
        assert LIMITS is not None
        draw, waiting = random.Random(self.seed), deque[tuple[int, Review]]()
        share = LIMITS.canary_share_ratio if phase is Phase.CANARY else 0.0
        views = frozenset((RECIPE.key, view.name) for view in RECIPE.views)
        trial = Trial(model="boards", version=2, since_ns=1, share_ratio=share, views=views)
        evidence, decision = TrialEvidence(trial, from_ns=1), Decision(change=None, reason="no part came")
        for part in learning_plan(parts=MOST_PARTS, seed=self.seed, recipes=[RECIPE.key], lamp_fails_at=0):
            now_ns = 2 + int(part.number / PARTS_PER_S * S_NS)
            marks = tuple(
                TrueMark(view=draw.choice(RECIPE.views).name, class_name=kind.value, box=(1, 2, 30, 40))
                for kind in part.defects
            )
            said = {view.name: self._answer(draw, view.name in {mark.view for mark in marks}) for view in RECIPE.views}
            mine = in_canary(model="boards", version=2, part=f"aoi-1/{part.number}", share_ratio=share)
            value = NOT_OK if not mine or NOT_OK in said.values() else OK
            verdict = _verdict(part.number, value, 2 if mine else 1, now_ns)
            if phase is Phase.SHADOW:
                for view, answer in said.items():
                    evidence.take(_shadow_answer(part.number, view, answer, now_ns))
            evidence.take(verdict)
            due_ns = now_ns + int(self.review_lag_s * S_NS)
            waiting.extend((due_ns, review) for review in reviews_of(verdict, marks, now_ns=now_ns))
            while waiting and waiting[0][0] <= now_ns:
                evidence.take(waiting.popleft()[1])
            decision = decide(phase, evidence, LIMITS, now_ns=now_ns)
            if decision.change is not None:
                break
        return decision

    def _answer(self, draw: random.Random, is_bad: bool) -> VerdictValue:
        wrong = draw.random() < (self.missed_ratio if is_bad else self.extra_ratio)
        return NOT_OK if is_bad is not wrong else OK


def _verdict(part: int, value: VerdictValue, version: int, now_ns: int) -> Verdict:
    return Verdict(
        id=verdict_id(station="aoi-1", part_id=str(part), visit=1, revision=1), station="aoi-1", line="line-1",
        part_id=str(part), visit=1, revision=1, verdict=value, action=FailSafe.PASS, arrived_at_ns=now_ns,
        decided_at_ns=now_ns, recipe=RECIPE.key, models=(ModelUse(model="boards", version=version, digest=""),),
    )  # fmt: skip


def _shadow_answer(part: int, view: str, decision: VerdictValue, now_ns: int) -> ShadowAnswer:
    inspection = f"{view}/s/{part}"
    return ShadowAnswer(
        id=shadow_id(inspection=inspection, model="boards", version=2), station="aoi-1", camera=view, view=view,
        part_id=str(part), visit=1, recipe=RECIPE.key, inspection=inspection, model="boards", version=2, digest="",
        beside=1, decision=decision, line_decision=NOT_OK, answered_at_ns=now_ns, infer_ms=80.0, line_infer_ms=80.0,
    )  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_version_that_learned_the_new_light_is_promoted(seed: int) -> None:
    line = Line(missed_ratio=0.03, extra_ratio=0.01, seed=seed)
    assert line.trial(Phase.SHADOW).change is ModelChange.CANARIED
    assert line.trial(Phase.CANARY).change is ModelChange.PROMOTED


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_version_that_passes_everything_is_let_go_as_a_canary_at_the_latest(seed: int) -> None:
    line = Line(missed_ratio=1.0, extra_ratio=0.0, seed=seed)
    assert line.trial(Phase.CANARY).change is ModelChange.ROLLED_BACK


def test_reviews_that_come_late_leave_a_version_in_shadow_without_a_witness() -> None:
    """docs/models.md: what the failing champion rejects looks missed until people have said that it is good."""
    late = Line(missed_ratio=0.0, extra_ratio=0.0, seed=1, review_lag_s=30.0).trial(Phase.SHADOW)
    assert late.change is ModelChange.REJECTED
    assert "missed_ratio" in late.reason
