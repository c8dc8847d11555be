"""One command's way through a station's mailbox, as decisions: what stands there, what follows, what became of it.

free     Sequence == AckSequence          the gateway may write a payload, then Sequence + 1
pending  Sequence != AckSequence          the PLC owes an answer; nothing is written over it
answered AckSequence == Sequence and AckCommandId is the command's
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from schemas.commands import Command, CommandResult
from schemas.message import NS_PER_S
from schemas.reasons import PLC_CODES, CommandOutcome, PlcAnswer

# A command that was written before the PLC went away: so long after its validity its fate may still be read.
RESOLVE_WITHIN_NS = 30_000_000_000
CLOCK_SKEW_NS = 200_000_000
"""The PLC judges `ValidUntilNs` by its own clock. One that is off by more than this is told of."""
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
    ack_time_ns: int = 0


class Step(Enum):
    """What to do about a command, given its mailbox."""

    ANSWERED = "the PLC answered it"
    WRONG_ECHO = "the PLC answered its sequence with another id"
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
        return Step.WRONG_ECHO
    return Step.WRITE


def sequence_after(sequence: int) -> int:
    """The next sequence, a UInt32 that wraps; 0 means that nothing was ever written."""
    return (sequence + 1) % SEQUENCES or 1


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a command came. Times are ns UTC, 0 where it did not happen."""

    began_at_ns: int = field(default_factory=time.time_ns)
    began_s: float = field(default_factory=time.monotonic)

    sequence: int | None = None
    attempts: int = 0
    first_written_at_ns: int = 0
    last_written_at_ns: int = 0
    seen_pending_at_ns: int = 0
    unknown_past: bool

    def now_ns(self) -> int:
        """The time, ns UTC, and not before what has gone by since the command was taken up: a clock that is set back meanwhile makes no
        command young again, and none waits for it as long as it was set back."""
        return max(time.time_ns(), self.began_at_ns + int((time.monotonic() - self.began_s) * NS_PER_S))

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
    detail = clock_told(mailbox, progress, now_ns) if answer is PlcAnswer.EXPIRED else ""
    return result_of(command, progress, _OUTCOMES[answer], detail=detail, acknowledged_at_ns=now_ns)


def clock_skew_ns(mailbox: Mailbox, progress: Progress, now_ns: int) -> int:
    """By how much the PLC's clock is ahead of ours (negative: behind), at least: its answer lies between our write and `now_ns`.

    0 where it may be right. A command that a former life wrote says only whether the clock is ahead.
    """
    at_ns = mailbox.ack_time_ns
    if at_ns > now_ns:
        return at_ns - now_ns
    return min(0, at_ns - progress.first_written_at_ns) if progress.first_written_at_ns else 0


def clock_told(mailbox: Mailbox, progress: Progress, now_ns: int) -> str:
    """What a person has to know of the PLC's clock; "" where nothing is wrong with it."""
    if not mailbox.ack_time_ns:
        return "AckTimeNs is 0, expected ns since 1970: nobody can say whether the PLC's clock is right"
    skew_ns = clock_skew_ns(mailbox, progress, now_ns)
    if abs(skew_ns) <= CLOCK_SKEW_NS:
        return ""
    side = "ahead of" if skew_ns > 0 else "behind"
    return f"AckTimeNs: the PLC's clock is at least {abs(skew_ns) / 1e9:.1f} s {side} ours; set both by one NTP server"


def held_back(command: Command, progress: Progress, outcome: CommandOutcome, why: str) -> CommandResult:
    """The result of a command that must not be written now. Where it was written before, the PLC may have executed it, and forgot that
    it did when it started anew: then nobody can say that it was held back."""
    if not progress.may_be_executed:
        return result_of(command, progress, outcome, detail=why)
    detail = (
        f"it was written, the PLC does not know its answer any more, and it must not be written again: {outcome}, {why}"
    )
    return result_of(command, progress, CommandOutcome.NOT_ACKNOWLEDGED, detail=detail)


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
