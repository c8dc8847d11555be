"""What an interlock, the validity or a part that left holds back is neither executed nor left in the mailbox, whatever breaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mailbox_plc import (
    GUARDED,
    PAYLOAD,
    SPEED,
    Plc,
    asked,
    command,
    given_now,
    mailbox_of,
    quick_retries,  # noqa: F401 - an autouse fixture
)

from gateways import command_mailbox
from gateways.departed_parts import DepartedParts
from gateways.opcua_session import PlcAway
from schemas.commands import Command
from schemas.interlocks import Interlocks
from schemas.reasons import CommandKind, CommandOutcome
from schemas.telemetry import Stage

REFUSED = [
    (asked("c", CommandKind.STOP_LINE, signals=("verdicts",)), CommandOutcome.INTERLOCKED),
    (asked("c", CommandKind.SPEED, value=9999.0), CommandOutcome.INTERLOCKED),
    (asked("c", CommandKind.SPEED, value=55.0), CommandOutcome.INTERLOCKED),
    (asked("c", CommandKind.PARAMETER, parameter="oven", value=1.0), CommandOutcome.INTERLOCKED),
    (asked("c", CommandKind.REJECT, part_id="p0", visit=1), CommandOutcome.DRY_RUN),
    (asked("c", CommandKind.REJECT, part_id="gone", visit=1), CommandOutcome.PART_LEFT),
]
PARTS_GONE = [("gone", 1)]


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


class WallClock:
    """The clock of the gateway's machine, for a test to set back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        honest = time.time_ns
        self.behind_ns = 0
        monkeypatch.setattr(time, "time_ns", lambda: honest() - self.behind_ns)

    def set_back(self, _plc: Plc | None = None) -> None:
        self.behind_ns = 600_000_000_000


async def test_a_clock_that_is_set_back_makes_no_command_young_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked_for = WallClock(monkeypatch), command("p0", valid_for_ms=20)

    def time_passes_and_the_clock_is_set_back(_plc: Plc) -> None:
        time.sleep(0.03)  # the validity itself has to go by, on the clock that nobody sets
        clock.set_back()

    plc = Turns(time_passes_and_the_clock_is_set_back)
    result = await mailbox_of(plc).deliver(asked_for)
    assert (result.outcome, result.attempts, plc.values["command_sequence"]) == (CommandOutcome.EXPIRED, 0, 0)
    assert plc.values["command_id"] == ""


async def test_a_command_that_came_too_late_says_so_and_by_whose_clock() -> None:
    """Where this machine's clock is ahead no command is in time, and that is all that there is to see of it."""
    result = await mailbox_of(Plc()).deliver(command("p0", valid_for_ms=-5_000))
    assert result.outcome is CommandOutcome.EXPIRED
    assert result.detail.startswith("its validity had ended 5.0 s before it came, by this machine's clock; ")


async def test_no_command_waits_for_an_answer_as_long_as_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = WallClock(monkeypatch)
    plc = Turns(clock.set_back, at=2)  # with the sequence
    plc.answers = False
    async with asyncio.timeout(10):  # not the ten minutes
        result = await mailbox_of(plc).deliver(command("p0", valid_for_ms=50))
    assert (result.outcome, result.attempts) == (CommandOutcome.NOT_ACKNOWLEDGED, 1)


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
