"""The nodes of one station: those of its PLC with the station's name put in."""

from __future__ import annotations

import msgspec

from schemas.plant import Plant, Plc, PlcNodes, Station


def station_nodes(nodes: PlcNodes, station: str) -> PlcNodes:
    """`nodes` with `{station}` replaced."""
    return msgspec.structs.replace(
        nodes, **{name: getattr(nodes, name).replace("{station}", station) for name in nodes.__struct_fields__}
    )


def stations_of(plant: Plant, plc: Plc) -> tuple[Station, ...]:
    """The stations that `plc` controls."""
    return tuple(station for station in plant.stations if station.plc == plc.name)


def mailbox_nodes(nodes: PlcNodes) -> tuple[str, ...]:
    """Every node that a gateway may ever write."""
    return (
        nodes.gateway_heartbeat,
        nodes.command_id,
        nodes.command_kind,
        nodes.command_part_id,
        nodes.command_visit,
        nodes.command_verdict,
        nodes.command_action,
        nodes.command_reason,
        nodes.command_valid_until_ns,
        nodes.command_sequence,
    )
