"""What the judge asks its caller to do. A `source` is what came in with a message: it goes back when the message is finished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from processors.part_state import Source
from schemas.commands import Command
from schemas.errors import Refused
from schemas.records import AuditEvent
from schemas.verdicts import DefectEvent, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Generic[Source]):
    """A verdict and what follows from it. Decisions are to be sent in their order.

    First the verdict, and once it is acknowledged defects and command: a crash in between leaves a verdict whose command is
    made again, never a command whose verdict may come out differently. `is_on_topic`: the verdict went out before a restart,
    send only what follows. Then the sources are finished. `triggered_at_ns` is when the part arrived (see `believed_time`).
    `audit` tells of a challenge part.
    """

    verdict: Verdict
    defects: tuple[DefectEvent, ...]
    command: Command | None
    sources: tuple[Source, ...]
    triggered_at_ns: int
    is_on_topic: bool = False
    audit: AuditEvent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(Generic[Source]):
    """The message can never succeed: dead letter, then finished."""

    source: Source
    refused: Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Generic[Source]):
    """Nothing is waiting for this message: finish it."""

    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something odd that was survived. `what` is bounded: duplicate, contradiction, second_frame, late, clock_skew, overflow."""

    what: str
    subject: str
    detail: str = ""


Judgement = Decision[Source] | Refusal[Source] | Done[Source] | Notice
