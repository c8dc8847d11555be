"""The command contract, with a PLC's program in memory: whatever breaks, and wherever, a command is executed at most once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways import command_mailbox
from gateways.command_mailbox import CommandMailbox
from gateways.interlocks import StationInterlocks
from gateways.mailbox_contract import Mailbox, Step, next_step, sequence_after
from gateways.opcua_session import NodeFault, PlcAway
from gateways.station_nodes import station_nodes
from schemas.commands import Command, CommandResult
from schemas.interlocks import Interlocks
from schemas.plant import PlcNodes
from schemas.reasons import CommandKind, CommandOutcome, FailSafe, VerdictValue
from schemas.telemetry import Stage
from simulation.station import Request, Station

NODES = station_nodes(PlcNodes(), "s")
ROLES = {getattr(NODES, role): role for role in NODES.__struct_fields__}
PAYLOAD = {
    "command_id": "",
    "command_kind": "",
    "command_part_id": "",
    "command_visit": 0,
    "command_verdict": "",
    "command_action": "",
    "command_reason": "",
    "command_defect_class": "",
    "command_defect_view": "",
    "command_defect_x_px": 0.0,
    "command_defect_y_px": 0.0,
    "command_parameter": "",
    "command_value": 0.0,
    "command_valid_until_ns": 0,
}
STAGE = Stage("plc_gateway")


@pytest.fixture(scope="module", autouse=True)
def _quick_retries() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_mailbox, "RETRY_S", 0.001)
        yield


class Killed(BaseException):
    """The gateway's process ends here."""


class Plc:
    """A station's program and its mailbox. It scans when it is asked, so a test decides when a cycle passes.

    `plan` says what happens to each request of the gateway: `ok`, `lost` (nothing arrived), `unheard` (it arrived, the
    answer did not), `killed` (it arrived, the gateway died), `refused` (the server said no), `frozen` (no cycle passes).
    """

    def __init__(self, plan: Sequence[str] = (), *, answers: bool = True) -> None:
        self.program = Station(name="s", session="1", gate_after_ms=3_600_000)
        self.values: dict[str, Any] = {
            **PAYLOAD,
            "command_sequence": 0,
            "ack_sequence": 0,
            "ack_command_id": "",
            "ack_result": 0,
            "writes_allowed": True,
        }
        self.executed: list[str] = []
        self.writes = 0
        self.answers = answers
        self.lost = False
        self._plan = list(plan)

    async def session(self, *, until_ns: int) -> Plc:
        """In place of the link: it always stands."""
        return self

    async def read(self, identifiers: Sequence[str]) -> list[Any]:
        await asyncio.sleep(0)
        happens = self._happens()
        if happens != "frozen":
            self._scan()
        found = [self.values[ROLES[identifier]] for identifier in identifiers]
        self._fail_after(happens)
        return found

    async def write(self, values: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        happens = self._happens()
        if happens == "refused":
            raise NodeFault("not now")
        roles = {ROLES[identifier]: value for identifier, value in values.items()}
        pending = self.values["command_sequence"] != self.values["ack_sequence"]
        assert not pending or "command_id" not in roles, "a payload is never written over one that awaits its answer"
        assert "command_sequence" not in roles or len(roles) == 1, "the sequence is written alone, after the payload"
        self.values |= roles
        self.writes += 1
        self._fail_after(happens)

    def _happens(self) -> str:
        happens = self._plan.pop(0) if self._plan else "ok"
        if happens == "lost":
            raise PlcAway("nothing arrived")
        return happens

    def _fail_after(self, happens: str) -> None:
        if happens == "unheard":
            raise PlcAway("the answer is lost")
        if happens == "killed":
            raise Killed

    def _scan(self) -> None:
        if not self.answers or self.values["command_sequence"] == self.program.acknowledged_sequence:
            return
        request = Request(
            sequence=self.values["command_sequence"],
            **{role: self.values[role if role == "command_id" else f"command_{role}"] for role in REQUEST_ROLES},
        )
        done = self.program.scan(request, now_ns=time.time_ns())
        if done.executed is not None:
            self.executed.append(done.executed.command_id)
        if done.answer is not None:
            self.values |= {
                "ack_command_id": done.answer.command_id,
                "ack_result": done.answer.result,
                "ack_sequence": done.answer.sequence,
            }


REQUEST_ROLES = ("command_id", "kind", "part_id", "visit", "verdict", "action", "reason", "valid_until_ns")


def command(part_id: str, *, valid_for_ms: float = 60_000) -> Command:
    now_ns = time.time_ns()
    return Command(
        id=f"verdict/{part_id}",
        station="s",
        kind=CommandKind.VERDICT,
        issued_at_ns=now_ns,
        valid_until_ns=now_ns + int(valid_for_ms * 1e6),
        reason_code="defect",
        part_id=part_id,
        visit=1,
        verdict=VerdictValue.NOT_OK,
        action=FailSafe.REJECT,
    )


def mailbox_of(plc: Plc, *, acknowledge_timeout_ms: int = 5, observe: bool = False) -> CommandMailbox:
    return CommandMailbox(
        nodes=NODES,
        link=plc,  # type: ignore[arg-type]
        stage=STAGE,
        acknowledge_timeout_ms=acknowledge_timeout_ms,
        observe=observe,
        interlocks=StationInterlocks(interlocks=Interlocks(), nodes=NODES, began_at_ns=0),
    )


async def deliver_through_kills(plc: Plc, commands: Sequence[Command]) -> list[CommandResult]:
    """What a supervisor does: the gateway starts again and takes up the first command without a result."""
    results: list[CommandResult] = []
    while len(results) < len(commands):
        mailbox = mailbox_of(plc)
        try:
            while len(results) < len(commands):
                results.append(await mailbox.deliver(commands[len(results)]))
        except Killed:
            continue
    return results


@settings(deadline=None, max_examples=150)
@given(plan=st.lists(st.sampled_from(["ok", "ok", "lost", "unheard", "killed", "refused", "frozen"]), max_size=25))
async def test_through_any_breaks_each_command_is_executed_once_and_its_result_says_so(plan: list[str]) -> None:
    plc = Plc(plan)
    for part in ("p0", "p1", "p2"):
        plc.program.arrive(part_id=part, recipe="r", batch="", now_ns=time.time_ns())
    commands = [command("p0"), command("nobody"), command("p1"), command("p2")]
    results = await deliver_through_kills(plc, commands)
    assert [result.id for result in results] == [sent.id for sent in commands]
    assert [result.outcome for result in results] == [
        CommandOutcome.ACKNOWLEDGED,
        CommandOutcome.REFUSED_UNKNOWN_PART,
        CommandOutcome.ACKNOWLEDGED,
        CommandOutcome.ACKNOWLEDGED,
    ]
    assert plc.executed == ["verdict/p0", "verdict/p1", "verdict/p2"]


@settings(deadline=None, max_examples=60)
@given(
    plan=st.lists(st.sampled_from(["ok", "lost", "unheard", "killed", "frozen"]), max_size=20),
    valid_for_ms=st.floats(-1, 30),
)
async def test_near_the_end_of_its_validity_a_result_still_tells_the_truth(
    plan: list[str], valid_for_ms: float
) -> None:
    plc = Plc(plan)
    plc.program.arrive(part_id="p0", recipe="r", batch="", now_ns=time.time_ns())
    (result,) = await deliver_through_kills(plc, [command("p0", valid_for_ms=valid_for_ms)])
    assert plc.executed in ([], ["verdict/p0"])
    if result.outcome is CommandOutcome.ACKNOWLEDGED:
        assert plc.executed == ["verdict/p0"]
    elif result.outcome is not CommandOutcome.NOT_ACKNOWLEDGED:
        assert result.outcome in (CommandOutcome.EXPIRED, CommandOutcome.REFUSED_EXPIRED)
        assert plc.executed == []


async def test_an_expired_command_is_not_written() -> None:
    plc = Plc()
    result = await mailbox_of(plc).deliver(command("p0", valid_for_ms=-1))
    assert (result.outcome, result.sequence, result.attempts, plc.writes) == (CommandOutcome.EXPIRED, -1, 0, 0)


async def test_observing_touches_nothing() -> None:
    plc = Plc()
    result = await mailbox_of(plc, observe=True).deliver(command("p0"))
    assert (result.outcome, plc.writes) == (CommandOutcome.OBSERVED, 0)


async def test_a_plc_that_never_answers_costs_one_write_and_gives_no_acknowledgement() -> None:
    plc = Plc(answers=False)
    mailbox = mailbox_of(plc)
    result = await mailbox.deliver(command("p0", valid_for_ms=40))
    assert result.outcome is CommandOutcome.NOT_ACKNOWLEDGED
    assert plc.writes == 2
    behind = await mailbox.deliver(command("p1", valid_for_ms=20))
    assert (behind.outcome, behind.sequence) == (CommandOutcome.EXPIRED, -1)
    assert plc.values["command_id"] == "verdict/p0", "nothing is written over a command that awaits its answer"


async def test_a_write_that_the_server_swallows_is_repeated_under_the_same_sequence() -> None:
    class Swallows(Plc):
        async def write(self, values: Mapping[str, Any]) -> None:
            self.writes += 1
            if self.writes > 4:
                await super().write(values)

    plc = Swallows()
    plc.program.arrive(part_id="p0", recipe="r", batch="", now_ns=time.time_ns())
    result = await mailbox_of(plc).deliver(command("p0"))
    assert (result.outcome, result.sequence, result.attempts) == (CommandOutcome.ACKNOWLEDGED, 1, 3)


@pytest.mark.parametrize(("ack_id", "ack_result"), [("another", 1), ("verdict/p0", 99)])
async def test_a_plc_that_answers_nonsense_has_not_acknowledged(ack_id: str, ack_result: int) -> None:
    class Liar(Plc):
        def _scan(self) -> None:
            sequence = self.values["command_sequence"]
            self.values |= {
                "ack_sequence": sequence,
                "ack_command_id": ack_id if sequence else "",
                "ack_result": ack_result,
            }

    plc = Liar()
    result = await mailbox_of(plc).deliver(command("p0"))
    assert result.outcome is CommandOutcome.NOT_ACKNOWLEDGED
    assert str(99 if ack_result == 99 else ack_id) in result.detail
    assert result.attempts == 1


@pytest.mark.parametrize("value", ["seven", math.nan, 3.5, True, [1]])
async def test_a_mailbox_of_the_wrong_type_is_neither_believed_nor_written(value: object) -> None:
    plc = Plc()
    plc.program.arrive(part_id="p0", recipe="r", batch="", now_ns=time.time_ns())
    plc.values["ack_sequence"] = value
    result = await mailbox_of(plc).deliver(command("p0", valid_for_ms=20))
    assert (result.outcome, plc.writes) == (CommandOutcome.EXPIRED, 0)
    assert "no mailbox may hold" in result.detail


@pytest.mark.parametrize(
    ("mailbox", "written", "step"),
    [
        (Mailbox(0, "", 0, "", 0), None, Step.WRITE),
        (Mailbox(5, "mine", 5, "other", 1), None, Step.WRITE),  # payload written, then the gateway died
        (Mailbox(5, "mine", 5, "mine", 1), None, Step.ANSWERED),
        (Mailbox(6, "mine", 5, "other", 1), None, Step.PENDING),
        (Mailbox(6, "other", 5, "older", 1), None, Step.BUSY),
        (Mailbox(5, "mine", 5, "other", 1), 5, Step.MISANSWERED),
        (Mailbox(0, "", 0, "", 0), 5, Step.WRITE),  # the PLC started again
    ],
)
def test_the_mailbox_says_how_to_go_on(mailbox: Mailbox, written: int | None, step: Step) -> None:
    assert next_step(mailbox, "mine", written_sequence=written) is step


def test_sequences_wrap_and_never_become_0() -> None:
    assert sequence_after(0) == 1
    assert sequence_after(2**32 - 2) == 2**32 - 1
    assert sequence_after(2**32 - 1) == 1
