"""What a plant file's interlocks may not say although every key and type is right."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.interlocks import Interlocks, Setpoint
from schemas.node_ids import node_findings
from schemas.plant import Plc
from schemas.plant_yaml import Finding, Place


def interlock_findings(interlocks: Interlocks, plc: Plc | None, where: Place) -> Iterator[Finding]:
    """What in the interlocks at `where` cannot work; `plc` is the station's."""
    if interlocks.stop_line.signals < 1:
        yield (*where, "stop_line", "signals"), "at least one signal", None
    if interlocks.stop_line.within_ms < 1:
        yield (*where, "stop_line", "within_ms"), "a time of 1 ms or more", None
    names = [item.name for item in interlocks.parameters]
    for i, name in enumerate(names):
        if not name or name in names[:i]:
            yield (*where, "parameters", i, "name"), f"a name of its own; found `{name}`", None
    setpoints: list[tuple[Place, Setpoint]] = [
        ((*where, "parameters", i), item) for i, item in enumerate(interlocks.parameters)
    ]
    if interlocks.speed is not None:
        setpoints.insert(0, ((*where, "speed"), interlocks.speed))
    for place, setpoint in setpoints:
        if not setpoint.low < setpoint.high:
            yield (*place, "low"), f"a value below `high` ({setpoint.high:g})", None
        yield from node_findings(setpoint.node, (*place, "node"))
        for key in ("max_step", "max_change_per_s"):
            limit = getattr(setpoint, key)
            if limit is not None and not limit > 0:
                yield (*place, key), "a number above 0, or null for no bound", None
        if not setpoint.modes:
            yield (*place, "modes"), "at least one of running, stopped, held: else it can never be changed", None
    if setpoints and (plc is None or plc.nodes.command_parameter is None or plc.nodes.command_value is None):
        yield (
            where,
            "a PLC whose `nodes` name `command_parameter` and `command_value`: setpoints are commanded there",
            None,
        )
