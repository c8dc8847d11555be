"""One command's way through a station's mailbox, as decisions: what stands there, what follows, what became of it.

free     Sequence == AckSequence          the gateway may write a payload, then Sequence + 1
pending  Sequence != AckSequence          the PLC owes an answer; nothing is written over it
answered AckSequence == Sequence and AckCommandId is the command's
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum

import msgspec

from schemas.commands import Command, CommandResult
from schemas.reasons import PLC_CODES, CommandOutcome, PlcAnswer

# A command that was written before the PLC went away: so long after its validity its fate may still be read.
RESOLVE_WITHIN_NS = 30_000_000_000
SEQUENCES = 2**32

_OUTCOMES = {
    PlcAnswer.ACCEPTED: CommandOutcome.ACKNOWLEDGED,
    PlcAnswer.UNKNOWN_PART: CommandOutcome.REFUSED_UNKNOWN_PART,
    PlcAnswer.EXPIRED: CommandOutcome.REFUSED_EXPIRED,
    PlcAnswer.WRONG_STATE: CommandOutcome.REFUSED_STATE,
    PlcAnswer.INVALID: CommandOutcome.REFUSED_INVALID,
}


class Mailbox(msgspec.Struct, frozen=True):
    """What stands in the mailbox."""

    sequence: int = 0
    command_id: str = ""
    ack_sequence: int = 0
    ack_command_id: str = ""
    ack_result: int = 0


class Step(Enum):
    """What to do about a command, given its mailbox."""

    ANSWERED = "the PLC answered it"
    MISANSWERED = "the PLC answered its sequence with another id"
    WRITE = "the mailbox is free"
    PENDING = "it is in the mailbox and the PLC has not answered"
    BUSY = "another command is in the mailbox and the PLC has not answered"


def next_step(mailbox: Mailbox, command_id: str, *, written_sequence: int | None) -> Step:
    """The contract as a decision. `written_sequence` is the one with which this process wrote the command, None before."""
    if mailbox.sequence != mailbox.ack_sequence:
        return Step.PENDING if mailbox.command_id == command_id else Step.BUSY
    if mailbox.ack_command_id == command_id:
        return Step.ANSWERED
    if mailbox.sequence == written_sequence:
        return Step.MISANSWERED
    return Step.WRITE


def sequence_after(sequence: int) -> int:
    """The next sequence, a UInt32 that wraps; 0 means that nothing was ever written."""
    return (sequence + 1) % SEQUENCES or 1


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a command came. Times are ns UTC, 0 where it did not happen."""

    sequence: int | None = None
    attempts: int = 0
    first_written_at_ns: int = 0
    last_written_at_ns: int = 0
    seen_pending_at_ns: int = 0
    unknown_past: bool

    @property
    def may_be_executed(self) -> bool:
        """Whether the PLC may have taken it, by this process or by the one before, which may have written it."""
        return self.attempts > 0 or self.seen_pending_at_ns > 0 or self.unknown_past


def patience_ns(command: Command, progress: Progress) -> int:
    """Until when to look for the command's fate, ns UTC."""
    return command.valid_until_ns + (RESOLVE_WITHIN_NS if progress.may_be_executed else 0)


def answered(command: Command, progress: Progress, mailbox: Mailbox, now_ns: int) -> CommandResult:
    """The result by the PLC's answer, seen at `now_ns`."""
    progress.sequence = mailbox.sequence
    answer = PLC_CODES.get(mailbox.ack_result)
    if answer is None:
        detail = f"the PLC answered with result {mailbox.ack_result}; expected one of {sorted(PLC_CODES)}"
        return result_of(command, progress, CommandOutcome.NOT_ACKNOWLEDGED, detail=detail)
    return result_of(command, progress, _OUTCOMES[answer], acknowledged_at_ns=now_ns)


def given_up(command: Command, progress: Progress, why: str) -> CommandResult:
    """`expired` where the PLC cannot have executed it, else `not_acknowledged`."""
    outcome = CommandOutcome.NOT_ACKNOWLEDGED if progress.may_be_executed else CommandOutcome.EXPIRED
    return result_of(command, progress, outcome, detail=why)


def result_of(
    command: Command,
    progress: Progress,
    outcome: CommandOutcome,
    *,
    detail: str = "",
    acknowledged_at_ns: int = 0,
) -> CommandResult:
    """The result of a command that is over."""
    return CommandResult(
        id=command.id,
        station=command.station,
        kind=command.kind,
        outcome=outcome,
        sequence=-1 if progress.sequence is None else progress.sequence,
        attempts=progress.attempts,
        finished_at_ns=time.time_ns(),
        detail=detail,
        part_id=command.part_id,
        visit=command.visit,
        arrived_at_ns=command.arrived_at_ns,
        written_at_ns=progress.first_written_at_ns,
        acknowledged_at_ns=acknowledged_at_ns,
        parameter=command.parameter,
        value=command.value,
        signals=command.signals,
    )
