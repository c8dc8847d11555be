"""The command contract, with a PLC's program in memory: whatever breaks, and wherever, a command is executed at most once."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mailbox_plc import (
    Plc,
    command,
    deliver_through_kills,
    mailbox_of,
    quick_retries,  # noqa: F401 - an autouse fixture
)

from gateways.mailbox_contract import Mailbox, Step, next_step, sequence_after
from schemas.errors import DETAIL_LIMIT
from schemas.reasons import CommandOutcome


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


@pytest.mark.parametrize(
    "value", ["seven", math.nan, 3.5, True, [1], "x" * 2_000_000], ids=lambda value: str(value)[:8]
)
async def test_a_mailbox_of_the_wrong_type_is_neither_believed_nor_written(value: object) -> None:
    plc = Plc()
    plc.program.arrive(part_id="p0", recipe="r", batch="", now_ns=time.time_ns())
    plc.values["ack_sequence"] = value
    result = await mailbox_of(plc).deliver(command("p0", valid_for_ms=20))
    assert (result.outcome, plc.writes) == (CommandOutcome.EXPIRED, 0)
    assert "no mailbox may hold" in result.detail
    assert len(result.detail) <= DETAIL_LIMIT, "a result that no topic takes would end the gateway"


# --- what is refused is not in the mailbox -----------------------------------------------------------------------------


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
