"""One complete instance of every message of the learning side: reviews, requests for training, versions, shadows."""

from __future__ import annotations

from example_parts import AT_NS, DEFECT, DIGEST

from schemas.alerts import DriftEvidence, RetrainingTrigger
from schemas.message import Message
from schemas.reasons import VerdictValue
from schemas.records import Gate, ModelChange, ModelEvent, Review
from schemas.shadows import ShadowAnswer
from schemas.topics import (
    MODELS,
    RETRAINING,
    REVIEWS,
    SHADOWS,
    Topic,
)

LEARNING: tuple[tuple[Topic, Message], ...] = (
    (
        REVIEWS,
        Review(
            id=f"aoi-1/SN-000123/2/anna/{AT_NS}",
            station="aoi-1",
            part_id="SN-000123",
            visit=2,
            reviewer="anna",
            reviewed_at_ns=AT_NS,
            verdict=VerdictValue.OK,
            view="left-top",
            defects=(DEFECT,),
            comment="dust, not a mousebite",
        ),
    ),
    (
        RETRAINING,
        RetrainingTrigger(
            id=f"defect_classifier/score_shift/{AT_NS}",
            model="defect_classifier",
            cause="score_shift",
            station="aoi-1",
            fired_at_ns=AT_NS,
            evidence=(
                DriftEvidence(
                    statistic="ks_distance",
                    baseline=0.0625,
                    observed=0.4375,
                    threshold=0.3,
                    sample_size=120,
                    p_value=0.000030517578125,
                    examples=("left/7f3a/41",),
                ),
            ),
            recipe="board-a@1",
        ),
    ),
    (
        MODELS,
        ModelEvent(
            id=f"defect_classifier/3/promoted/{AT_NS}",
            model="defect_classifier",
            version=3,
            digest=DIGEST,
            change=ModelChange.PROMOTED,
            at_ns=AT_NS,
            by="anna",
            detail="shadow agreed on 1,000 parts",
            run=f"defect_classifier/run/{AT_NS - 900_000_000_000}",
            trigger=f"defect_classifier/score_shift/{AT_NS - 901_000_000_000}",
            dataset=DIGEST,
            figures={"disagreement_ratio": 0.015625},
            gates=(Gate(name="escapes_ratio", value=0.0, limit=0.0078125, passed=True, detail="0 of 212"),),
            share_ratio=0.125,
            beside=2,
            settings='{"family":"classifier","classes":["good","dust"],"colour":false,"scale":1.0,"paired":false,"size_px":[48,48]}',
        ),
    ),
    (
        SHADOWS,
        ShadowAnswer(
            id="left/7f3a/41/spindle/4",
            station="aoi-1",
            camera="left",
            view="left-top",
            part_id="SN-000123",
            visit=2,
            recipe="board-a@1",
            inspection="left/7f3a/41",
            model="spindle",
            version=4,
            digest=DIGEST,
            beside=3,
            decision=VerdictValue.NOT_DECIDABLE,
            line_decision=VerdictValue.NOT_OK,
            answered_at_ns=AT_NS,
            score=0.25,
            line_score=0.875,
            infer_ms=12.5,
            line_infer_ms=10.25,
            total_ms=31.5,
            error="spindle/4 failed: an index is out of range",
        ),
    ),
)
