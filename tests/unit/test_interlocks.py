"""Interlocks: what may be written to a PLC, whatever is asked for and in whatever order."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.departed_parts import DepartedParts
from gateways.interlocks import MachineState, Refusal, StationInterlocks
from schemas.commands import Command, CommandResult
from schemas.interlocks import Interlocks, Parameter, Setpoint, StopLine
from schemas.plant import PlcNodes
from schemas.reasons import CommandKind, CommandOutcome

S = 1_000_000_000
BEGAN_NS = 1_000 * S
SPEED = Setpoint(node="s=Speed", low=10, high=60, max_step=8, max_change_per_s=2)
LAMP = Parameter(name="lamp", node="s=Lamp", low=0, high=100)
SWITCH = PlcNodes(writes_allowed="s=WritesAllowed")
DEPARTED = DepartedParts()
RUNNING = MachineState(writes_allowed=True, mode="running", in_force=30.0)


def interlocks(nodes: PlcNodes = SWITCH, **settings: Any) -> StationInterlocks:
    settings = {"speed": SPEED, "parameters": (LAMP,), **settings}
    return StationInterlocks(interlocks=Interlocks(**settings), nodes=nodes, began_at_ns=BEGAN_NS, departed=DEPARTED)


def command(kind: CommandKind, **fields: Any) -> Command:
    return Command(
        id="c", station="aoi-1", kind=kind, issued_at_ns=0, valid_until_ns=2**62, reason_code="because", **fields
    )


def result(kind: CommandKind, outcome: CommandOutcome, *, at_s: float, signals: tuple[str, ...] = ()) -> CommandResult:
    return CommandResult(
        id="c", station="aoi-1", kind=kind, outcome=outcome, sequence=-1, attempts=0,
        finished_at_ns=BEGAN_NS + int(at_s * S), signals=signals,
    )  # fmt: skip


def ask(
    system: StationInterlocks, asked: Command, machine: MachineState = RUNNING, *, after_s: float = 100
) -> Refusal | None:
    return system.refusal(asked, machine, now_ns=BEGAN_NS + int(after_s * S))


def stop(*signals: str) -> Command:
    return command(CommandKind.STOP_LINE, signals=signals)


# --- the kill switch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CommandKind)
@pytest.mark.parametrize("bit", [False, None, 1, "true"])
def test_nothing_is_written_unless_the_plc_says_true(kind: CommandKind, bit: object) -> None:
    refusal = ask(interlocks(), command(kind), MachineState(writes_allowed=bit, mode="running", in_force=30))
    assert refusal is not None
    assert refusal.outcome is CommandOutcome.SWITCHED_OFF
    assert "s=WritesAllowed" in refusal.detail


def test_a_plc_without_the_bit_costs_no_reading_and_forbids_nothing() -> None:
    system = interlocks(nodes=PlcNodes(writes_allowed=None))
    verdict = command(CommandKind.VERDICT, part_id="p", visit=1)
    assert system.nodes_for(verdict) == {}
    assert ask(system, verdict, MachineState()) is None


# --- stopping the line ----------------------------------------------------------------------------------------------


def test_a_stop_needs_two_signals_that_differ() -> None:
    system = interlocks()
    first = ask(system, stop("verdicts"))
    assert first is not None
    assert (first.outcome, first.detail) == (
        CommandOutcome.INTERLOCKED, "1 of 2 independent signals within 300 s: verdicts",
    )  # fmt: skip
    assert ask(system, stop("verdicts"), after_s=101) is not None, "the same signal once more is no second one"
    assert ask(system, stop("sensor press/vibration"), after_s=102) is None


def test_two_signals_too_far_apart_are_one() -> None:
    system = interlocks(stop_line=StopLine(within_ms=10_000))
    ask(system, stop("verdicts"), after_s=100)
    assert ask(system, stop("cameras"), after_s=110.1) is not None
    assert ask(system, stop("verdicts"), after_s=111) is None


def test_a_stop_that_carries_two_signals_needs_no_other() -> None:
    assert ask(interlocks(), stop("verdicts", "lane sensor")) is None


def test_a_stop_without_a_named_signal_may_be_any_other_and_is_no_second_one() -> None:
    system = interlocks()
    assert ask(system, stop()) is not None
    assert ask(system, stop()) is not None
    assert ask(system, stop("verdicts")) is not None
    assert ask(system, stop("cameras")) is None
    assert ask(interlocks(stop_line=StopLine(signals=1)), stop()) is None


def test_a_stop_that_was_carried_out_uses_its_signals_up() -> None:
    system = interlocks()
    ask(system, stop("verdicts"))
    assert ask(system, stop("cameras")) is None
    system.note(result(CommandKind.STOP_LINE, CommandOutcome.ACKNOWLEDGED, at_s=100))
    assert ask(system, stop("cameras")) is not None


def test_a_restart_forgets_no_signal() -> None:
    system = interlocks()
    system.note(result(CommandKind.STOP_LINE, CommandOutcome.INTERLOCKED, at_s=-1, signals=("verdicts",)))
    assert ask(system, stop("cameras")) is None


# --- setpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [9.9, 60.1, math.nan, math.inf])
def test_a_value_outside_its_limits_is_refused(value: float) -> None:
    refusal = ask(interlocks(), command(CommandKind.SPEED, value=value))
    assert refusal is not None
    assert "outside 10..60" in refusal.detail


@pytest.mark.parametrize("mode", ["stopped", "held", None, ""])
def test_a_setpoint_moves_only_in_its_modes(mode: object) -> None:
    machine = MachineState(writes_allowed=True, mode=mode, in_force=30.0)
    assert ask(interlocks(), command(CommandKind.SPEED, value=31), machine) is not None


@pytest.mark.parametrize("in_force", [None, "30", math.nan, True])
def test_a_step_from_nobody_knows_where_is_refused(in_force: object) -> None:
    machine = MachineState(writes_allowed=True, mode="running", in_force=in_force)
    assert ask(interlocks(), command(CommandKind.SPEED, value=31), machine) is not None
    assert ask(interlocks(), command(CommandKind.PARAMETER, parameter="lamp", value=50), machine) is None


@pytest.mark.parametrize("outcome", CommandOutcome)
def test_a_setpoint_that_may_have_been_changed_is_not_changed_again_at_once(outcome: CommandOutcome) -> None:
    system = interlocks()
    system.note(result(CommandKind.SPEED, outcome, at_s=99))
    may_have_changed = outcome in (CommandOutcome.ACKNOWLEDGED, CommandOutcome.NOT_ACKNOWLEDGED)
    assert (ask(system, command(CommandKind.SPEED, value=34), after_s=100) is not None) is may_have_changed
    assert ask(system, command(CommandKind.SPEED, value=34), after_s=102) is None


@pytest.mark.parametrize(
    "asked", [command(CommandKind.PARAMETER, parameter="oven", value=1), command(CommandKind.PARAMETER, value=30)]
)
def test_what_the_plant_file_does_not_name_cannot_be_commanded(asked: Command) -> None:
    assert ask(interlocks(), asked) is not None
    assert ask(interlocks(speed=None), command(CommandKind.SPEED, value=30)) is not None


def test_a_dry_run_is_judged_like_the_others_and_not_written() -> None:
    system = interlocks(dry_run=("speed",))
    inside, outside = (
        ask(system, command(CommandKind.SPEED, value=31)),
        ask(system, command(CommandKind.SPEED, value=99)),
    )
    assert inside is not None
    assert inside.outcome is CommandOutcome.DRY_RUN
    assert outside is not None
    assert outside.outcome is CommandOutcome.INTERLOCKED
    assert ask(system, command(CommandKind.VERDICT)) is None


@given(
    asked=st.lists(
        st.tuples(st.floats(allow_nan=True), st.floats(0, 20), st.sampled_from(["running", "stopped"])), max_size=40
    ),
    start=st.floats(SPEED.low, SPEED.high),
    by_hand=st.lists(st.floats(SPEED.low, SPEED.high), max_size=3),
)
def test_whatever_is_asked_the_speed_stays_within_limits_steps_and_rate(
    asked: list[tuple[float, float, str]], start: float, by_hand: list[float]
) -> None:
    system, in_force, now_s, changed_s = interlocks(), start, 0.0, 0.0
    hands = list(by_hand)
    for value, pause_s, mode in asked:
        now_s += pause_s
        if hands and pause_s > 15:
            in_force = hands.pop()  # a person at the machine
        machine = MachineState(writes_allowed=True, mode=mode, in_force=in_force)
        wanted = value if not 0 <= value <= 1 else SPEED.low + value * (SPEED.high - SPEED.low)
        if ask(system, command(CommandKind.SPEED, value=wanted), machine, after_s=now_s) is not None:
            continue
        assert mode == "running"
        assert SPEED.low <= wanted <= SPEED.high
        assert abs(wanted - in_force) <= 8
        assert abs(wanted - in_force) <= 2 * (now_s - changed_s) + 1e-6
        in_force, changed_s = wanted, now_s
        system.note(result(CommandKind.SPEED, CommandOutcome.ACKNOWLEDGED, at_s=now_s))
