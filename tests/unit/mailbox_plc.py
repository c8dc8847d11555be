"""A PLC's program in memory, the mailbox of its station, and commands for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from gateways import command_mailbox
from gateways.command_mailbox import CommandMailbox
from gateways.departed_parts import DepartedParts
from gateways.interlocks import StationInterlocks
from gateways.machine_watch import MachineWatch
from gateways.opcua_session import NodeFault, PlcAway
from gateways.station_nodes import station_nodes
from schemas.commands import Command, CommandResult
from schemas.interlocks import Interlocks, Setpoint
from schemas.plant import PlcNodes
from schemas.reasons import CommandKind, FailSafe, VerdictValue
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
SPEED = Setpoint(node="s=Speed", low=10, high=60, max_step=20)
GUARDED = Interlocks(speed=SPEED, dry_run=("reject",))


@pytest.fixture(scope="module", autouse=True)
def quick_retries() -> Iterator[None]:
    """For every test of a module that imports it."""
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
            "ack_time_ns": 0,
            "writes_allowed": True,
            "line_mode": "running",
            SPEED.node: 30.0,
        }
        self.executed: list[str] = []
        self.writes = 0
        self.answers = answers
        self.lost = False
        self.doubted = asyncio.Event()
        self._plan = list(plan)

    async def session(self, *, until_ns: int) -> Plc:
        """In place of the link: it always stands."""
        return self

    async def read(self, identifiers: Sequence[str]) -> list[Any]:
        await asyncio.sleep(0)
        happens = self._happens()
        if happens != "frozen":
            self._scan()
        found = [self.values[ROLES.get(identifier, identifier)] for identifier in identifiers]
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
                "ack_time_ns": done.answer.at_ns,
                "ack_sequence": done.answer.sequence,
            }

    def cold_start(self) -> list[str]:
        """It starts anew with its mailbox retained and nothing else, as a program does that was not thought through. What it executes."""
        self.program = Station(name="s", session="2", gate_after_ms=3_600_000)
        self.program.arrive(part_id="p0", recipe="r", batch="", now_ns=time.time_ns())
        self.values |= {"ack_sequence": 0, "ack_command_id": "", "ack_result": 0}
        before = len(self.executed)
        self._scan()
        return self.executed[before:]


REQUEST_ROLES = (
    "command_id",
    "kind",
    "part_id",
    "visit",
    "verdict",
    "action",
    "reason",
    "valid_until_ns",
    "parameter",
    "value",
)


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


def mailbox_of(
    plc: Plc,
    *,
    acknowledge_timeout_ms: int = 5,
    observe: bool = False,
    interlocks: Interlocks = Interlocks(),  # noqa: B008 - frozen
    departed: DepartedParts | None = None,
    stage: Stage = STAGE,
) -> CommandMailbox:
    departed = departed or DepartedParts()
    departed.is_read(plc)
    return CommandMailbox(
        nodes=NODES,
        link=plc,  # type: ignore[arg-type]
        stage=stage,
        acknowledge_timeout_ms=acknowledge_timeout_ms,
        observe=observe,
        interlocks=StationInterlocks(interlocks=interlocks, nodes=NODES, began_at_ns=0, departed=departed),
        machine=MachineWatch(nodes=()),
        departed=departed,
    )


def asked(name: str, kind: CommandKind, **fields: Any) -> Command:
    now_ns = time.time_ns()
    return Command(
        id=name, station="s", kind=kind, issued_at_ns=now_ns, valid_until_ns=now_ns + 60_000_000_000, reason_code="because",
        **fields,
    )  # fmt: skip


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


def given_now(template: Command, **changes: Any) -> Command:
    """Tests are collected long before they run: a command of then would have expired."""
    now_ns = time.time_ns()
    return msgspec.structs.replace(template, issued_at_ns=now_ns, valid_until_ns=now_ns + 60_000_000_000, **changes)
