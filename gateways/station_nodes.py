"""The nodes of one station: those of its PLC with the station's name put in."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from schemas.interlocks import Interlocks, Setpoint
from schemas.plant import Plant, Plc, PlcNodes, Station

AnySetpoint = TypeVar("AnySetpoint", bound=Setpoint)


def station_nodes(nodes: PlcNodes, station: str) -> PlcNodes:
    """`nodes` with `{station}` replaced; those that the PLC does not have stay None."""
    named = {name: getattr(nodes, name) for name in nodes.__struct_fields__}
    return msgspec.structs.replace(
        nodes, **{name: node.replace("{station}", station) for name, node in named.items() if node is not None}
    )


def label_nodes(plc: Plc, station: str) -> dict[str, str]:
    """Where the labels of the station's parts lie, by name."""
    return {label.name: label.node.replace("{station}", station) for label in plc.labels}


def station_interlocks(plant: Plant, station: str) -> Interlocks:
    """The interlocks of a station of `plant`, with `{station}` replaced in their nodes."""
    found = next(each.interlocks for each in plant.stations if each.name == station)
    return msgspec.structs.replace(
        found,
        speed=None if found.speed is None else _named(found.speed, station),
        parameters=tuple(_named(item, station) for item in found.parameters),
    )


def _named(setpoint: AnySetpoint, station: str) -> AnySetpoint:
    return msgspec.structs.replace(setpoint, node=setpoint.node.replace("{station}", station))


def stations_of(plant: Plant, plc: Plc) -> tuple[Station, ...]:
    """The stations that `plc` controls."""
    return tuple(station for station in plant.stations if station.plc == plc.name)


def writable_nodes(nodes: PlcNodes) -> tuple[str, ...]:
    """Every node that a gateway may ever write."""
    named = (
        nodes.gateway_heartbeat,
        nodes.trigger_ready,
        nodes.ready_recipe,
        nodes.trigger_seen,
        nodes.error_code,
        nodes.error_text,
        nodes.command_id,
        nodes.command_kind,
        nodes.command_part_id,
        nodes.command_visit,
        nodes.command_verdict,
        nodes.command_action,
        nodes.command_reason,
        nodes.command_defect_class,
        nodes.command_defect_view,
        nodes.command_defect_x_px,
        nodes.command_defect_y_px,
        nodes.command_parameter,
        nodes.command_value,
        nodes.command_valid_until_ns,
        nodes.command_sequence,
    )
    return tuple(node for node in named if node is not None)
