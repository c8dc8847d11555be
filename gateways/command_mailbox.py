"""The command contract with a PLC: one mailbox per station, one command in flight, done when the PLC says so (`mailbox_contract`).

The PLC answers in its next cycle, refuses what expired, and executes an id once. So whatever breaks in between (this process,
the line, the PLC), reading the mailbox again says how to go on, and a repeated command does no harm. A good write status
is no answer.

What must not be written is not written: interlocks and validity are looked at before the payload and again before the sequence, and a
payload whose sequence must not follow is taken back. A PLC that starts anew may take whatever stands in its mailbox for new.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import msgspec

from gateways.departed_parts import DepartedParts
from gateways.interlocks import OF_A_PART, MachineState, Refusal, StationInterlocks
from gateways.machine_watch import MachineWatch
from gateways.mailbox_contract import (
    Mailbox,
    Progress,
    Step,
    answered,
    clock_told,
    given_up,
    held_back,
    next_step,
    patience_ns,
    result_of,
    sequence_after,
)
from gateways.opcua_session import NodeFault, OpcUaSession
from gateways.station_link import StationLink
from schemas.commands import Command, CommandResult
from schemas.errors import Transient
from schemas.plant import PlcNodes
from schemas.reasons import CommandKind, CommandOutcome
from schemas.telemetry import AttemptRepeated, Noticed, Stage

# A soft PLC has answered when its write status is here; one with a cycle is asked every 2 ms, not more often.
LOOK_STEP_S = 0.001
LONGEST_LOOK_S = 0.002
RETRY_S = 0.05
PRESENT_S = 0.05
"""What the machine said so long ago is how it stands now."""


class CommandMailbox:
    """Delivers commands to one station, one after the other. Never call `deliver` twice at once."""

    def __init__(
        self,
        *,
        nodes: PlcNodes,
        link: StationLink,
        stage: Stage,
        acknowledge_timeout_ms: int,
        observe: bool,
        interlocks: StationInterlocks,
        machine: MachineWatch,
        departed: DepartedParts,
    ) -> None:
        self._nodes = nodes
        self._interlocks = interlocks
        self._machine = machine
        self._departed = departed
        self._link = link
        self._stage = stage
        self._acknowledge_timeout_ns = acknowledge_timeout_ms * 1_000_000
        self._observe = observe
        self._free: tuple[OpcUaSession, Mailbox] | None = None
        self._last_seen: Mailbox | None = None
        self._payload_stands = False  # one of ours that the PLC has not answered
        self._clock_is_off = False
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

    def recall(self, result: CommandResult) -> None:
        """The result of a command from before a restart."""
        self._interlocks.note(result)

    async def deliver(self, command: Command) -> CommandResult:
        """What became of the command: the PLC's answer, that there was none in time, or the interlock that kept it from the PLC.

        With `observe` nothing is written. Returns at the latest when the command's validity has ended, plus what it takes
        to read the fate of one that was written before.
        """
        result = await self._delivered(command)
        self._interlocks.note(result)
        return result

    async def _delivered(self, command: Command) -> CommandResult:
        progress = Progress(unknown_past=self._may_be_in_the_mailbox(command))
        if self._observe:
            return result_of(command, progress, CommandOutcome.OBSERVED, detail="the plant file says `observe: true`")
        why = "the PLC is away, or a node of the station does not serve"
        while True:
            session = await self._link.session(until_ns=patience_ns(command, progress))
            if session is None:
                return given_up(command, progress, why)
            try:
                return await self._deliver_on(session, command, progress)
            except Transient as error:
                why = str(error)
                self._free = None
                if isinstance(error, NodeFault):
                    self._link.doubted.set()
                progress.last_written_at_ns = (
                    0  # what stands in the mailbox now says whether to write again, not a pause
                )
                self._stage.emit(AttemptRepeated(service="plc", detail=why, attempt=progress.attempts))
            if progress.now_ns() > patience_ns(command, progress):
                return given_up(command, progress, why)
            await asyncio.sleep(RETRY_S)

    async def _deliver_on(self, session: OpcUaSession, command: Command, progress: Progress) -> CommandResult:
        look_s = 0.0
        if command.kind in OF_A_PART:
            await self._departed.until_read(session, until_ns=command.valid_until_ns)
        # the gateway is the mailbox's only writer: as it left it in this session, so it is
        mailbox = self._free[1] if self._free is not None and self._free[0] is session else await self._read(session)
        self._free = None
        while True:
            progress.unknown_past = False
            step = next_step(mailbox, command.id, written_sequence=progress.sequence)
            now_ns = progress.now_ns()
            if step is Step.ANSWERED:
                self._free, self._payload_stands = (session, mailbox), False
                self._look_at_clock(clock_told(mailbox, progress, now_ns))
                return answered(command, progress, mailbox, now_ns)
            if step is Step.WRONG_ECHO:
                self._payload_stands = False
                detail = f"the PLC answered sequence {mailbox.sequence} with id {mailbox.ack_command_id!r}"
                return result_of(command, progress, CommandOutcome.NOT_ACKNOWLEDGED, detail=detail)
            if step is Step.PENDING:
                progress.seen_pending_at_ns = progress.seen_pending_at_ns or now_ns
            if now_ns >= self._deadline_ns(command, progress, step):
                await self._take_back(session, step)
                return given_up(command, progress, step.value)
            if step is Step.WRITE and now_ns >= progress.last_written_at_ns + self._acknowledge_timeout_ns:
                refusal = await self._write(session, command, progress, sequence_after(mailbox.sequence))
                if refusal is not None:
                    await self._take_back(session, step)
                    return held_back(command, progress, refusal.outcome, refusal.detail)
                look_s = 0.0
            await asyncio.sleep(look_s)
            look_s = min(LONGEST_LOOK_S, look_s + LOOK_STEP_S)
            mailbox = await self._read(session)

    def _deadline_ns(self, command: Command, progress: Progress, step: Step) -> int:
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
            "ack_time_ns": nodes.ack_time_ns,
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

    async def _write(
        self, session: OpcUaSession, command: Command, progress: Progress, sequence: int
    ) -> Refusal | None:
        """Payload first, then the sequence in a write of its own: the PLC looks at the payload only after that.

        Returns what speaks against it; then the sequence was not written.
        """
        refusal = await self._against_payload(session, command, progress)
        if refusal is not None:
            return refusal
        self._payload_stands = True
        began_s = time.monotonic()
        machine, _ = await _both(self._read_machine(session, command), session.write(self._payload(command)))
        if time.monotonic() - began_s > PRESENT_S:
            machine = await self._read_machine(session, command)
        now_ns = progress.now_ns()
        refusal = self._interlocks.refusal(command, machine, now_ns=now_ns)
        if refusal is not None:
            return refusal
        progress.sequence = sequence
        progress.attempts += 1
        progress.first_written_at_ns = progress.first_written_at_ns or now_ns
        progress.last_written_at_ns = now_ns
        await session.write({self._nodes.command_sequence: sequence})
        return None

    async def _against_payload(self, session: OpcUaSession, command: Command, progress: Progress) -> Refusal | None:
        """The first look. It costs no request while what the subscription told lets the command pass; only a reading refuses."""
        told = self._machine.values(session, self._interlocks.nodes_for(command))
        if (
            told is not None
            and self._interlocks.refusal(command, MachineState(**told), now_ns=progress.now_ns()) is None
        ):
            return None
        machine = await self._read_machine(session, command)
        return self._interlocks.refusal(command, machine, now_ns=progress.now_ns())

    async def _take_back(self, session: OpcUaSession, step: Step) -> None:
        """Empties the payload where one of ours stands that no sequence followed, or whose sequence the PLC has forgotten."""
        if step is Step.WRITE and self._payload_stands:
            await session.write({node: type(value)() for node, value in self._payload(_NOTHING).items()})
            self._payload_stands = False

    def _look_at_clock(self, told: str) -> None:
        """Says once that the PLC's clock is off, and again when it was right in between."""
        if told and not self._clock_is_off:
            self._stage.emit(Noticed(what="plc_clock_skew", subject=self._nodes.ack_time_ns, detail=told))
        self._clock_is_off = bool(told)

    async def _read_machine(self, session: OpcUaSession, command: Command) -> MachineState:
        nodes = self._interlocks.nodes_for(command)
        values = await session.read(list(nodes.values())) if nodes else ()
        return MachineState(**dict(zip(nodes, values, strict=True)))

    def _payload(self, command: Command) -> dict[str, Any]:
        """What is written of a command, by node; without the nodes that the PLC does not have."""
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
            nodes.command_parameter: command.parameter,
            nodes.command_value: command.value,
            nodes.command_valid_until_ns: command.valid_until_ns,
        }
        return {node: value for node, value in payload.items() if node is not None}


_NOTHING = Command(
    id="", station="", kind=CommandKind.VERDICT, issued_at_ns=0, valid_until_ns=0, reason_code=""
)  # fmt: skip
"""Gives the nodes of a payload and their types."""


async def _both(reading: Awaitable[MachineState], writing: Awaitable[None]) -> tuple[MachineState, None]:
    """Waits for both, whatever becomes of either: a write that is still on its way must not meet the next one's."""
    read, written = await asyncio.gather(reading, writing, return_exceptions=True)
    if isinstance(written, BaseException):
        raise written
    if isinstance(read, BaseException):
        raise read
    return read, written
