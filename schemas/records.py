"""What people, the model registry and the audit trail add: reviews, model events, audit events, dead letters."""

from __future__ import annotations

from enum import StrEnum

from schemas.inspections import Defect
from schemas.message import Message
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
    """Steps in the life of a model version."""

    RELEASED = "released"
    SHADOWED = "shadowed"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"


class ModelEvent(Message, frozen=True, kw_only=True):
    """A step in the life of a model version; `id` is `model/version/change/at_ns`."""

    model: str
    version: int
    digest: str
    change: ModelChange
    at_ns: int
    by: str
    detail: str = ""


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
