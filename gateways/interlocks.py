"""Interlocks of one station: whether a command may be written now. Pure: what the machine says and the time come as arguments.

They are looked at before a payload and again before its sequence, so that a command which waited for the PLC is judged by how things
stand then. No check of a client rules out that the machine changes between check and write; the PLC's own program has the last word.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateways.departed_parts import DepartedParts
from schemas.commands import Command, CommandResult
from schemas.interlocks import Interlocks, Setpoint, StopLine, setpoints_of
from schemas.message import NS_PER_MS, NS_PER_S
from schemas.plant import PlcNodes
from schemas.reasons import CommandKind, CommandOutcome

UNNAMED_SIGNAL = "unnamed"
"""Of a stop that does not say what saw its reason. It may be the same as any other, so it is none beside a named one."""

OF_A_PART = (CommandKind.VERDICT, CommandKind.REJECT)
"""Commands that are of no use once their part has left."""

_MAY_HAVE_CHANGED = (CommandOutcome.ACKNOWLEDGED, CommandOutcome.NOT_ACKNOWLEDGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """What the PLC said right before a write. `writes_allowed` is None where it has no such bit; `in_force` is the setpoint's value."""

    writes_allowed: object = None
    mode: object = None
    in_force: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a command is not written."""

    outcome: CommandOutcome
    detail: str


class StationInterlocks:
    """The interlocks of one station and what they have to remember: asked-for stops, and when a setpoint was last changed.

    `began_at_ns` is when this process began: before that a setpoint may have been changed, so its rate counts from then.
    `departed` knows which parts have left.
    """

    def __init__(self, *, interlocks: Interlocks, nodes: PlcNodes, began_at_ns: int, departed: DepartedParts) -> None:
        self._interlocks = interlocks
        self._departed = departed
        self._nodes = nodes
        self._began_at_ns = began_at_ns
        self._setpoints = setpoints_of(interlocks)
        self._changed_at_ns: dict[str, int] = {}
        self._stop_signals: dict[str, int] = {}

    def note(self, result: CommandResult) -> None:
        """What became of a command, of this process or from before a restart.

        Stops that were asked for still count; one that the PLC took uses its signals up. A setpoint was changed then, or may have
        been where the PLC did not answer.
        """
        if result.kind is CommandKind.STOP_LINE:
            if result.outcome is CommandOutcome.INTERLOCKED:
                self._note_stop(result.signals, result.finished_at_ns)
            if result.outcome is CommandOutcome.ACKNOWLEDGED:
                self._stop_signals.clear()
        if result.kind in (CommandKind.SPEED, CommandKind.PARAMETER) and result.outcome in _MAY_HAVE_CHANGED:
            changed_at_ns = self._changed_at_ns.get(result.parameter, 0)
            self._changed_at_ns[result.parameter] = max(result.finished_at_ns, changed_at_ns)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node that `nodes_for` some command."""
        setpoints = tuple(setpoint.node for setpoint in self._setpoints.values())
        modes = (self._nodes.line_mode,) if setpoints else ()
        return tuple(node for node in (self._nodes.writes_allowed, *modes, *setpoints) if node is not None)

    def nodes_for(self, command: Command) -> dict[str, str]:
        """What to read before `refusal` is asked, as fields of `MachineState` and their nodes; empty where nothing is needed."""
        nodes = {"writes_allowed": self._nodes.writes_allowed}
        setpoint = self._setpoint(command)
        if setpoint is not None:
            nodes |= {"mode": self._nodes.line_mode, "in_force": setpoint.node}
        return {field: node for field, node in nodes.items() if node is not None}

    def refusal(self, command: Command, machine: MachineState, *, now_ns: int) -> Refusal | None:
        """Why `command` must not be written now; None where nothing speaks against it.

        A stop that is refused for want of a second signal is remembered: it is the first of the next one's.
        """
        if now_ns >= command.valid_until_ns:
            return Refusal(outcome=CommandOutcome.EXPIRED, detail="its validity has ended")
        if self._nodes.writes_allowed is not None and machine.writes_allowed is not True:
            return Refusal(
                outcome=CommandOutcome.SWITCHED_OFF,
                detail=f"the PLC forbids writes: {self._nodes.writes_allowed} is {machine.writes_allowed!r}, expected True",
            )
        if command.kind in OF_A_PART and self._departed.has_left(command.part_id, command.visit):
            return Refusal(
                outcome=CommandOutcome.PART_LEFT,
                detail=f"{command.part_id}, visit {command.visit} has passed the gate, or the PLC has started anew since it came",
            )
        against = self._against(command, machine, now_ns)
        if against:
            return Refusal(outcome=CommandOutcome.INTERLOCKED, detail=against)
        if command.kind.value in self._interlocks.dry_run:
            return Refusal(outcome=CommandOutcome.DRY_RUN, detail=f"the plant file says `dry_run` for {command.kind}")
        return None

    def _against(self, command: Command, machine: MachineState, now_ns: int) -> str | None:
        match command.kind:
            case CommandKind.STOP_LINE:
                self._note_stop(command.signals, now_ns)
                return self._against_stop(self._interlocks.stop_line, now_ns)
            case CommandKind.SPEED | CommandKind.PARAMETER:
                setpoint = self._setpoint(command)
                if setpoint is None:
                    return f"the plant file's interlocks say nothing of {command.parameter or 'the speed'}"
                since_ns = self._changed_at_ns.get(command.parameter, self._began_at_ns)
                return _against_value(setpoint, command.value, machine, seconds=max(0, now_ns - since_ns) / NS_PER_S)
            case _:
                return None

    def _setpoint(self, command: Command) -> Setpoint | None:
        match command.kind:
            case CommandKind.SPEED:
                return self._interlocks.speed
            case CommandKind.PARAMETER if command.parameter:
                return self._setpoints.get(command.parameter)
            case _:
                return None

    def _note_stop(self, signals: tuple[str, ...], at_ns: int) -> None:
        for signal in signals or (UNNAMED_SIGNAL,):
            self._stop_signals[signal] = max(at_ns, self._stop_signals.get(signal, 0))

    def _against_stop(self, stop: StopLine, now_ns: int) -> str | None:
        since_ns = now_ns - stop.within_ms * NS_PER_MS
        self._stop_signals = {signal: at_ns for signal, at_ns in self._stop_signals.items() if at_ns >= since_ns}
        independent = max(1, len(self._stop_signals.keys() - {UNNAMED_SIGNAL}))
        if independent >= stop.signals:
            return None
        return (
            f"{independent} of {stop.signals} independent signals within {stop.within_ms / 1000:g} s: "
            f"{', '.join(sorted(self._stop_signals))}"
        )


def _against_value(setpoint: Setpoint, value: float, machine: MachineState, *, seconds: float) -> str | None:
    """Why a setpoint must not become `value`. `seconds` went by since its last change."""
    if not math.isfinite(value) or not setpoint.low <= value <= setpoint.high:
        return f"{value:g} is outside {setpoint.low:g}..{setpoint.high:g}"
    if machine.mode not in setpoint.modes:
        return f"the line is {machine.mode}; it may be changed while {' or '.join(setpoint.modes)}"
    if setpoint.max_step is None and setpoint.max_change_per_s is None:
        return None
    in_force = machine.in_force
    if isinstance(in_force, bool) or not isinstance(in_force, int | float) or not math.isfinite(in_force):
        return f"{setpoint.node} shows {in_force!r}, expected the number in force: the size of the step is not known"
    return _against_step(setpoint, abs(value - in_force), seconds)


def _against_step(setpoint: Setpoint, step: float, seconds: float) -> str | None:
    if setpoint.max_step is not None and step > setpoint.max_step:
        return f"a step of {step:g} is more than {setpoint.max_step:g}"
    if setpoint.max_change_per_s is not None and step > setpoint.max_change_per_s * seconds:
        return f"a change of {step:g} after {seconds:.1f} s is faster than {setpoint.max_change_per_s:g} per s"
    return None
