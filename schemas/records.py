"""What people, the model registry and the audit trail add: reviews, model events, audit events, dead letters."""

from __future__ import annotations

from enum import StrEnum

from schemas.inspections import Defect
from schemas.message import Message, Value
from schemas.reasons import VerdictValue


class Review(Message, frozen=True, kw_only=True):
    """A person's label for a part. `id` is `station/part_id/visit/reviewer/reviewed_at_ns`.

    `defects` is what the person marked, boxes in px of the original frame of `view`.
    """

    station: str
    part_id: str
    visit: int
    reviewer: str
    reviewed_at_ns: int
    verdict: VerdictValue
    view: str = ""
    defects: tuple[Defect, ...] = ()
    comment: str = ""


class ModelChange(StrEnum):
    """Steps from a request for training to a model that judges parts, and back. What each does: `processors.model_registry`.

    `run_started` to `run_ended` are steps of a training run, which has no version yet; the others are steps of a version.
    """

    RUN_STARTED = "run_started"
    DATA_FROZEN = "data_frozen"
    TRAINING = "training"
    EVALUATED = "evaluated"
    RUN_ENDED = "run_ended"
    RELEASED = "released"
    SHADOWED = "shadowed"
    CANARIED = "canaried"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"
    RETIRED = "retired"


class Gate(Value, frozen=True, kw_only=True):
    """One condition that a candidate has to meet: `value` against `limit`, both in the unit that `name` ends with."""

    name: str
    value: float
    limit: float
    passed: bool
    detail: str = ""


class ModelEvent(Message, frozen=True, kw_only=True):
    """A step in the life of a model version, or of the training run that leads to one.

    `id` is `model/version/change/at_ns`; in a run, which has no version yet (`version` 0, `digest` empty), `run/change/at_ns`.
    `run` is `model/run/started_at_ns`, `trigger` the RetrainingTrigger that asked for it, `dataset` the digest of what was frozen.
    `figures` and `gates` are what was measured. `share_ratio` is the share of parts that a canary judges, above 0 and below 1.
    `beside` is the version that judges the other parts; in `rolled_back` the one that the line goes back to; 0 is the recipe's pin.
    `settings` is, of a version that is released, what its `model.json` says (JSON): a stage that does not see the folder judges by it.
    """

    model: str
    version: int
    digest: str
    change: ModelChange
    at_ns: int
    by: str
    detail: str = ""
    run: str = ""
    trigger: str = ""
    dataset: str = ""
    figures: dict[str, float] = {}
    gates: tuple[Gate, ...] = ()
    share_ratio: float = 0.0
    beside: int = 0
    settings: str = ""


def version_event_id(*, model: str, version: int, change: ModelChange, at_ns: int) -> str:
    """The id of a step of a version."""
    return f"{model}/{version}/{change}/{at_ns}"


def run_id(*, model: str, started_at_ns: int) -> str:
    """The name of a training run."""
    return f"{model}/run/{started_at_ns}"


def run_event_id(*, run: str, change: ModelChange, at_ns: int) -> str:
    """The id of a step of a training run."""
    return f"{run}/{change}/{at_ns}"


class DeadLetter(Message, frozen=True, kw_only=True):
    """A refused record, byte for byte; `id` is `topic/partition/offset`.

    `topic` is without the plant's prefix. `reason` is a `RefusalReason`. `frame_id` names the frame where its headers could be read.
    """

    topic: str
    partition: int
    offset: int
    stage: str
    reason: str
    detail: str
    refused_at_ns: int
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    frame_id: str | None = None


class AuditEvent(Message, frozen=True, kw_only=True):
    """Who did what, when: every command, release, review and configuration change. `id` is `actor/action/subject/at_ns`."""

    actor: str
    action: str
    subject: str
    at_ns: int
    detail: str = ""
