"""The command contract with a PLC: one mailbox per station, one command in flight, done when the PLC says so.

    free     Sequence == AckSequence          the gateway may write a payload, then Sequence + 1
    pending  Sequence != AckSequence          the PLC owes an answer; nothing is written over it
    answered AckSequence == Sequence and AckCommandId is the command's

The PLC answers in its next cycle, refuses what expired, and executes an id once. So whatever breaks in between (this process,
the line, the PLC), reading the mailbox again says how to go on, and a repeated command does no harm. A good write status
is no answer.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import Enum

import msgspec

from gateways.opcua_session import NodeFault, OpcUaSession
from gateways.plc_link import PlcLink
from schemas.commands import Command, CommandResult
from schemas.errors import Transient
from schemas.plant import PlcNodes
from schemas.reasons import PLC_CODES, CommandOutcome, PlcAnswer
from schemas.telemetry import AttemptRepeated, Stage

# A soft PLC has answered when its write status is here; one with a cycle is asked every 2 ms, not more often.
LOOK_STEP_S = 0.001
LONGEST_LOOK_S = 0.002
RETRY_S = 0.05
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
class _Progress:
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


class CommandMailbox:
    """Delivers commands to one station, one after the other. Never call `deliver` twice at once."""

    def __init__(
        self,
        *,
        nodes: PlcNodes,
        link: PlcLink,
        stage: Stage,
        acknowledge_timeout_ms: int,
        observe: bool,
    ) -> None:
        self._nodes = nodes
        self._link = link
        self._stage = stage
        self._acknowledge_timeout_ns = acknowledge_timeout_ms * 1_000_000
        self._observe = observe
        self._free: tuple[OpcUaSession, Mailbox] | None = None
        self._last_seen: Mailbox | None = None
        self._born_at_ns = time.time_ns()

    async def reached(self, *, within_s: float) -> None:
        """Returns when the PLC is there, at the latest after `within_s`.

        A command of a former life may have been executed, and only the mailbox says so: it is asked before anything expires.
        """
        session = await self._link.session(until_ns=time.time_ns() + int(within_s * 1e9))
        if session is not None:
            try:
                await self._read(session)
            except Transient as error:
                self._stage.emit(AttemptRepeated(service="plc", detail=str(error)))

    async def deliver(self, command: Command) -> CommandResult:
        """What became of the command: the PLC's answer, or that there was none in time.

        With `observe` nothing is written. Returns at the latest when the command's validity has ended, plus what it takes
        to read the fate of one that was written before.
        """
        progress = _Progress(unknown_past=self._may_be_in_the_mailbox(command))
        if self._observe:
            return _result(command, progress, CommandOutcome.OBSERVED, detail="the plant file says `observe: true`")
        why = "the PLC is away"
        while True:
            session = await self._link.session(until_ns=_patience_ns(command, progress))
            if session is None:
                return _given_up(command, progress, why)
            try:
                return await self._deliver_on(session, command, progress)
            except Transient as error:
                why = str(error)
                self._free = None
                progress.last_written_at_ns = (
                    0  # what stands in the mailbox now says whether to write again, not a pause
                )
                self._stage.emit(AttemptRepeated(service="plc", detail=why, attempt=progress.attempts))
            if time.time_ns() > _patience_ns(command, progress):
                return _given_up(command, progress, why)
            await asyncio.sleep(RETRY_S)

    async def _deliver_on(self, session: OpcUaSession, command: Command, progress: _Progress) -> CommandResult:
        look_s = 0.0
        # the gateway is the mailbox's only writer: as it left it in this session, so it is
        mailbox = self._free[1] if self._free is not None and self._free[0] is session else await self._read(session)
        self._free = None
        while True:
            progress.unknown_past = False
            step = next_step(mailbox, command.id, written_sequence=progress.sequence)
            now_ns = time.time_ns()
            if step is Step.ANSWERED:
                self._free = (session, mailbox)
                return _answered(command, progress, mailbox, now_ns)
            if step is Step.MISANSWERED:
                detail = f"the PLC answered sequence {mailbox.sequence} with id {mailbox.ack_command_id!r}"
                return _result(command, progress, CommandOutcome.NOT_ACKNOWLEDGED, detail=detail)
            if step is Step.PENDING:
                progress.seen_pending_at_ns = progress.seen_pending_at_ns or now_ns
            if now_ns >= self._deadline_ns(command, progress, step):
                return _given_up(command, progress, step.value)
            if step is Step.WRITE and now_ns >= progress.last_written_at_ns + self._acknowledge_timeout_ns:
                await self._write(session, command, progress, sequence_after(mailbox.sequence))
                look_s = 0.0
            await asyncio.sleep(look_s)
            look_s = min(LONGEST_LOOK_S, look_s + LOOK_STEP_S)
            mailbox = await self._read(session)

    def _deadline_ns(self, command: Command, progress: _Progress, step: Step) -> int:
        """Until when to go on while the PLC is there: an answer is owed for a while after the last write, validity or not."""
        if step is not Step.PENDING:
            return command.valid_until_ns
        since_ns = max(progress.last_written_at_ns, progress.seen_pending_at_ns)
        return max(command.valid_until_ns, since_ns + self._acknowledge_timeout_ns)

    async def _read(self, session: OpcUaSession) -> Mailbox:
        nodes = self._nodes
        # AckSequence is read first because the PLC writes it last
        fields = {
            "ack_sequence": nodes.ack_sequence,
            "ack_command_id": nodes.ack_command_id,
            "ack_result": nodes.ack_result,
            "sequence": nodes.command_sequence,
            "command_id": nodes.command_id,
        }
        values = await session.read(list(fields.values()))
        # a node that was never written may be null
        found = {name: value for name, value in zip(fields, values, strict=True) if value is not None}
        try:
            self._last_seen = msgspec.convert(found, Mailbox)
        except msgspec.ValidationError as error:
            raise NodeFault(f"the mailbox holds what no mailbox may hold: {error}; found {found}") from error
        return self._last_seen

    def _may_be_in_the_mailbox(self, command: Command) -> bool:
        """Whether a former life may have written it: it is older than this one, and nobody looked yet, or it was there then.

        The judge's clock says how old it is; one that is ahead of ours by more than a restart takes makes `expired` of it.
        """
        if command.issued_at_ns >= self._born_at_ns:
            return False
        seen = self._last_seen
        return seen is None or command.id in (seen.command_id, seen.ack_command_id)

    async def _write(self, session: OpcUaSession, command: Command, progress: _Progress, sequence: int) -> None:
        """Payload first, then the sequence in a write of its own: the PLC looks at the payload only after that."""
        nodes = self._nodes
        payload = {
            nodes.command_id: command.id,
            nodes.command_kind: command.kind.value,
            nodes.command_part_id: command.part_id,
            nodes.command_visit: command.visit,
            nodes.command_verdict: command.verdict.value if command.verdict is not None else "",
            nodes.command_action: command.action.value if command.action is not None else "",
            nodes.command_reason: command.reason_code,
            nodes.command_defect_class: command.defect_class,
            nodes.command_defect_view: command.defect_view,
            nodes.command_defect_x_px: command.defect_x_px,
            nodes.command_defect_y_px: command.defect_y_px,
            nodes.command_valid_until_ns: command.valid_until_ns,
        }
        await session.write({node: value for node, value in payload.items() if node is not None})
        now_ns = time.time_ns()
        progress.sequence = sequence
        progress.attempts += 1
        progress.first_written_at_ns = progress.first_written_at_ns or now_ns
        progress.last_written_at_ns = now_ns
        await session.write({nodes.command_sequence: sequence})


def _patience_ns(command: Command, progress: _Progress) -> int:
    return command.valid_until_ns + (RESOLVE_WITHIN_NS if progress.may_be_executed else 0)


def _answered(command: Command, progress: _Progress, mailbox: Mailbox, now_ns: int) -> CommandResult:
    progress.sequence = mailbox.sequence
    answer = PLC_CODES.get(mailbox.ack_result)
    if answer is None:
        detail = f"the PLC answered with result {mailbox.ack_result}; expected one of {sorted(PLC_CODES)}"
        return _result(command, progress, CommandOutcome.NOT_ACKNOWLEDGED, detail=detail)
    return _result(command, progress, _OUTCOMES[answer], acknowledged_at_ns=now_ns)


def _given_up(command: Command, progress: _Progress, why: str) -> CommandResult:
    """`expired` where the PLC cannot have executed it, else `not_acknowledged`."""
    outcome = CommandOutcome.NOT_ACKNOWLEDGED if progress.may_be_executed else CommandOutcome.EXPIRED
    return _result(command, progress, outcome, detail=why)


def _result(
    command: Command,
    progress: _Progress,
    outcome: CommandOutcome,
    *,
    detail: str = "",
    acknowledged_at_ns: int = 0,
) -> CommandResult:
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
    )
