"""What a plant file may say about interlocks: which commands may reach a station's PLC, and how far they may go.

They are checked in the gateway before a payload and again before its sequence. The PLC checks again by its own program: a gateway is no
safety device.
"""

from __future__ import annotations

from typing import Literal

from schemas.section import Section

ControlledKind = Literal["verdict", "reject", "stop_line", "speed", "parameter"]
"""The kinds of `schemas.reasons.CommandKind`, as a plant file names them."""


class Setpoint(Section, frozen=True, kw_only=True):
    """A number in the PLC that commands may change, in the PLC's own unit.

    `node` shows the value that is in force (identifier without the namespace): a step is measured from there, since a person at the
    machine may have changed it. `max_step` bounds one change, `max_change_per_s` the average between two; null: not bounded.
    Parts are under way while a setpoint moves, so it moves only while the line is in one of `modes`.
    """

    node: str
    low: float
    high: float
    max_step: float | None = None
    max_change_per_s: float | None = None
    modes: tuple[Literal["running", "stopped", "held"], ...] = ("running",)


class Parameter(Setpoint, frozen=True, kw_only=True):
    """A setpoint with a name, by which commands address it."""

    name: str


class StopLine(Section, frozen=True, kw_only=True):
    """A stop costs a shift's quiet, so one signal that errs must not cause it.

    A stop is written when `signals` independent ones asked for it within `within_ms`. What is independent: docs/connect-a-station.md.
    """

    signals: int = 2
    within_ms: int = 300_000


class Interlocks(Section, frozen=True, kw_only=True):
    """What stands between commands and one station's PLC. Speed and parameters cannot be commanded where they are not named.

    Commands of the kinds in `dry_run` are judged, told and audited like the others, and never written.
    """

    stop_line: StopLine = StopLine()
    speed: Setpoint | None = None
    parameters: tuple[Parameter, ...] = ()
    dry_run: tuple[ControlledKind, ...] = ()


def setpoints_of(interlocks: Interlocks) -> dict[str, Setpoint]:
    """Everything that can be commanded to a value, by the name in a command's `parameter`; the speed has the empty one."""
    speed = {} if interlocks.speed is None else {"": interlocks.speed}
    return {**speed, **{item.name: item for item in interlocks.parameters}}
