"""The command contract, with a PLC's program in memory: whatever breaks, and wherever, a command is executed at most once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways import command_mailbox
from gateways.command_mailbox import CommandMailbox
from gateways.departed_parts import DepartedParts
from gateways.interlocks import StationInterlocks
from gateways.machine_watch import MachineWatch
from gateways.mailbox_contract import Mailbox, Step, next_step, sequence_after
from gateways.opcua_session import NodeFault, PlcAway
from gateways.station_nodes import station_nodes
from schemas.commands import Command, CommandResult
from schemas.interlocks import Interlocks, Setpoint
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
SPEED = Setpoint(node="s=Speed", low=10, high=60, max_step=20)
GUARDED = Interlocks(speed=SPEED, dry_run=("reject",))


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
            "ack_time_ns": 0,
            "writes_allowed": True,
            "line_mode": "running",
            SPEED.node: 30.0,
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


# --- what is refused is not in the mailbox -----------------------------------------------------------------------------

REFUSED = [
    (asked("c", CommandKind.STOP_LINE, signals=("verdicts",)), CommandOutcome.INTERLOCKED),
    (asked("c", CommandKind.SPEED, value=9999.0), CommandOutcome.INTERLOCKED),
    (asked("c", CommandKind.SPEED, value=55.0), CommandOutcome.INTERLOCKED),
    (asked("c", CommandKind.PARAMETER, parameter="oven", value=1.0), CommandOutcome.INTERLOCKED),
    (asked("c", CommandKind.REJECT, part_id="p0", visit=1), CommandOutcome.DRY_RUN),
    (asked("c", CommandKind.REJECT, part_id="gone", visit=1), CommandOutcome.PART_LEFT),
]
PARTS_GONE = [("gone", 1)]


def given_now(template: Command, **changes: Any) -> Command:
    """Tests are collected long before they run: a command of then would have expired."""
    now_ns = time.time_ns()
    return msgspec.structs.replace(template, issued_at_ns=now_ns, valid_until_ns=now_ns + 60_000_000_000, **changes)


@pytest.mark.parametrize(("refused", "outcome"), REFUSED)
@pytest.mark.parametrize("after_another", [True, False])
async def test_nothing_of_a_refused_command_is_in_the_mailbox(
    refused: Command, outcome: CommandOutcome, after_another: bool
) -> None:
    plc, departed = Plc(), DepartedParts()
    plc.program.arrive(part_id="p0", recipe="r", batch="", now_ns=time.time_ns())
    departed.left(PARTS_GONE)
    mailbox = mailbox_of(plc, interlocks=GUARDED, departed=departed)
    if after_another:
        assert (await mailbox.deliver(command("p0"))).outcome is CommandOutcome.ACKNOWLEDGED
    stood = {role: plc.values[role] for role in PAYLOAD}
    assert (await mailbox.deliver(given_now(refused))).outcome is outcome
    assert {role: plc.values[role] for role in PAYLOAD} == stood
    assert refused.id not in plc.cold_start()


class Turns(Plc):
    """The machine becomes another with the write number `at`, just before it arrives: `then` changes values, or takes time."""

    def __init__(self, then: Callable[[Plc], None], *, at: int = 1) -> None:
        super().__init__()
        self._then, self._at = then, at

    async def write(self, values: Mapping[str, Any]) -> None:
        await asyncio.sleep(0.002)  # the reading beside it is there before
        if self.writes + 1 == self._at:
            self._then(self)
        await super().write(values)


def forbid(plc: Plc) -> None:
    plc.values["writes_allowed"] = False


async def test_a_payload_is_taken_back_when_the_machine_forbids_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_mailbox, "PRESENT_S", 0.0)
    plc = Turns(forbid)
    result = await mailbox_of(plc).deliver(command("p0"))
    assert (result.outcome, result.sequence, plc.values["command_sequence"]) == (CommandOutcome.SWITCHED_OFF, -1, 0)
    assert {role: plc.values[role] for role in PAYLOAD} == PAYLOAD


async def test_a_command_whose_validity_ends_while_its_payload_is_written_gets_no_sequence() -> None:
    asked_for = command("p0", valid_for_ms=20)

    def wait(_plc: Plc) -> None:
        while time.time_ns() < asked_for.valid_until_ns:
            time.sleep(0.001)

    plc = Turns(wait)
    result = await mailbox_of(plc).deliver(asked_for)
    assert (result.outcome, result.attempts, plc.values["command_sequence"]) == (CommandOutcome.EXPIRED, 0, 0)
    assert plc.values["command_id"] == ""


async def test_what_the_subscription_said_refuses_nothing() -> None:
    """It may be late: a PLC that has just allowed writes is believed when it is asked."""
    plc = Plc()
    plc.program.arrive(part_id="p0", recipe="r", batch="", now_ns=time.time_ns())
    mailbox = mailbox_of(plc)
    mailbox._machine = Remembers(plc, {"writes_allowed": False})  # type: ignore[assignment]
    assert (await mailbox.deliver(command("p0"))).outcome is CommandOutcome.ACKNOWLEDGED


async def test_what_the_subscription_said_allows_nothing_by_itself() -> None:
    plc = Plc()
    mailbox = mailbox_of(plc)
    mailbox._machine = Remembers(plc, {"writes_allowed": True})  # type: ignore[assignment]
    forbid(plc)
    assert (await mailbox.deliver(command("p0"))).outcome is CommandOutcome.SWITCHED_OFF
    assert {role: plc.values[role] for role in PAYLOAD} == PAYLOAD
    assert plc.executed == []


class Remembers:
    """In place of the subscription: it told this once."""

    def __init__(self, session: Plc, values: dict[str, Any]) -> None:
        self._session, self._values = session, values

    def values(self, session: Plc, fields: Mapping[str, str]) -> dict[str, Any] | None:
        return self._values if session is self._session and fields.keys() <= self._values.keys() else None


@settings(deadline=None, max_examples=100)
@given(
    plan=st.lists(st.sampled_from(["ok", "ok", "lost", "unheard", "refused", "frozen"]), max_size=25),
    bits=st.lists(st.booleans(), max_size=25),
    order=st.lists(st.sampled_from(range(len(REFUSED) + 1)), min_size=1, max_size=6),
)
async def test_whatever_breaks_and_whenever_the_machine_forbids_a_cold_start_executes_nothing_that_was_refused(
    plan: list[str], bits: list[bool], order: list[int]
) -> None:
    class Flickers(Plc):
        async def read(self, identifiers: Sequence[str]) -> list[Any]:
            self.values["writes_allowed"] = bits.pop() if bits else True
            return await super().read(identifiers)

    plc, departed = Flickers(plan), DepartedParts()
    plc.program.arrive(part_id="p0", recipe="r", batch="", now_ns=time.time_ns())
    departed.left(PARTS_GONE)
    mailbox = mailbox_of(plc, interlocks=GUARDED, departed=departed)
    refused = set()
    for number, which in enumerate(order):
        sent = given_now(command("p0") if which == len(REFUSED) else REFUSED[which][0], id=f"{number}")
        result = await mailbox.deliver(sent)
        if result.outcome.value in ("interlocked", "dry_run", "switched_off", "part_left"):
            refused.add(sent.id)
            assert plc.values["command_id"] != sent.id
    assert refused.isdisjoint(plc.executed)
    assert refused.isdisjoint(plc.cold_start())


async def test_a_retry_that_must_not_be_written_hides_no_execution() -> None:
    """The PLC executes, its answer is lost, it starts anew and forbids writes."""

    class StartsAnew(Plc):
        started = False

        async def read(self, identifiers: Sequence[str]) -> list[Any]:
            found = await super().read(identifiers)
            if self.executed and not self.started:
                self.started = True
                self.cold_start()
                self.values |= {"writes_allowed": False, "command_sequence": 0, **PAYLOAD}
                raise PlcAway("it starts anew")
            return found

    plc = StartsAnew()
    interlocks = Interlocks(speed=msgspec.structs.replace(SPEED, max_change_per_s=1))
    mailbox = mailbox_of(plc, interlocks=interlocks)
    result = await mailbox.deliver(asked("speed/1", CommandKind.SPEED, value=31.0))
    assert plc.executed[0] == "speed/1"
    assert (result.outcome, result.attempts) == (CommandOutcome.NOT_ACKNOWLEDGED, 1)
    assert "switched_off" in result.detail
    plc.values["writes_allowed"] = True
    again = await mailbox.deliver(asked("speed/2", CommandKind.SPEED, value=35.0))
    assert "faster than" in again.detail, "what may have been executed counts for the rate"


@pytest.mark.parametrize(("off_s", "told"), [(-5.0, "behind"), (5.0, "ahead of"), (-0.05, ""), (0.05, "")])
async def test_a_plc_whose_clock_is_off_is_told_of_once(
    off_s: float, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Off(Plc):
        def _scan(self) -> None:
            before = self.values["ack_sequence"]
            super()._scan()
            if self.values["ack_sequence"] != before:
                self.values["ack_time_ns"] += int(off_s * 1e9)

    stage = Stage("plc_gateway")
    plc = Off()
    mailbox = mailbox_of(plc, stage=stage)
    for part in ("p0", "p1"):
        await mailbox.deliver(command(part))
    seen = stage.registry.get_sample_value("linesight_plc_gateway_noticed_total", {"what": "plc_clock_skew"}) or 0
    assert seen == bool(told)


async def test_a_refusal_as_expired_says_when_the_plcs_clock_is_ahead() -> None:
    class Ahead(Plc):
        def _scan(self) -> None:
            if self.values["command_sequence"] != self.values["ack_sequence"]:
                self.values |= {
                    "ack_sequence": self.values["command_sequence"],
                    "ack_command_id": self.values["command_id"],
                    "ack_result": 3,
                    "ack_time_ns": time.time_ns() + 3_000_000_000,
                }

    result = await mailbox_of(Ahead()).deliver(command("p0"))
    assert result.outcome is CommandOutcome.REFUSED_EXPIRED
    assert "3.0 s ahead of ours" in result.detail or "2.9 s ahead of ours" in result.detail


async def test_a_command_of_a_part_waits_until_the_departures_of_this_session_are_read() -> None:
    """What left while the PLC was away is known only then."""
    asked_for = asyncio.Event()

    class Departures(DepartedParts):
        async def until_read(self, session: object, *, until_ns: int) -> None:
            asked_for.set()
            await super().until_read(session, until_ns=until_ns)

    plc, departed = Plc(), Departures()
    mailbox = mailbox_of(plc, departed=departed)
    departed.is_read("the session before")
    delivering = asyncio.create_task(mailbox.deliver(command("p0")))
    async with asyncio.timeout(5):
        await asked_for.wait()
    assert plc.writes == 0
    departed.left([("p0", 1)])
    departed.is_read(plc)
    assert (await delivering).outcome is CommandOutcome.PART_LEFT
    assert plc.writes == 0


@pytest.mark.parametrize(
    ("mailbox", "written", "step"),
    [
        (Mailbox(0, "", 0, "", 0), None, Step.WRITE),
        (Mailbox(5, "mine", 5, "other", 1), None, Step.WRITE),  # payload written, then the gateway died
        (Mailbox(5, "mine", 5, "mine", 1), None, Step.ANSWERED),
        (Mailbox(6, "mine", 5, "other", 1), None, Step.PENDING),
        (Mailbox(6, "other", 5, "older", 1), None, Step.BUSY),
        (Mailbox(5, "mine", 5, "other", 1), 5, Step.WRONG_ECHO),
        (Mailbox(0, "", 0, "", 0), 5, Step.WRITE),  # the PLC started again
    ],
)
def test_the_mailbox_says_how_to_go_on(mailbox: Mailbox, written: int | None, step: Step) -> None:
    assert next_step(mailbox, "mine", written_sequence=written) is step


def test_sequences_wrap_and_never_become_0() -> None:
    assert sequence_after(0) == 1
    assert sequence_after(2**32 - 2) == 2**32 - 1
    assert sequence_after(2**32 - 1) == 1
