"""Whether every node of a station serves: it is there, its value is good, and its type takes what is written to it.

Looked at before a station is served, and again where something speaks against it, so that a person reads all that is wrong at once, by
name, and not one node after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from gateways.node_types import NODE_TYPES, can_take, is_of_kind
from gateways.opcua_session import NodeFault, OpcUaSession
from gateways.station_link import StationLink
from gateways.station_nodes import writable_nodes
from schemas.patience import wait_at_most
from schemas.plant import PlcNodes

NAMED_AT_MOST = 5
LOOK_AGAIN_S = 10.0
LOOK_AGAIN_AT_THE_SOONEST_S = 1.0
_MAILBOX = frozenset(("command_id", "command_sequence", "ack_sequence", "ack_command_id", "ack_result", "ack_time_ns"))
_READ_BACK = frozenset(("gateway_heartbeat", "command_id", "command_sequence"))
"""Of the nodes that are written, those that are read as well."""


async def check_nodes(session: OpcUaSession, *, nodes: PlcNodes, labels: Collection[str], observe: bool) -> None:
    """Returns where every node serves; else raises `NodeFault` with those that do not. `labels` are nodes of labels of parts.

    ErrorText is left out: a text for people that cannot be written is a fault of its own, and no reason to stop. With `observe` nothing is
    written, so the mailbox need not be there.
    """
    roles = {
        role: node for role in NODE_TYPES if (node := getattr(nodes, role)) is not None and node != nodes.error_text
    }
    may_be_written = set(writable_nodes(nodes))
    written = {} if observe else {role: node for role, node in roles.items() if node in may_be_written}
    read = {
        role: node
        for role, node in roles.items()
        if (node not in may_be_written or role in _READ_BACK) and not (observe and role in _MAILBOX)
    }
    wrong = await _of_wrong_type(session, read=read, written=written)
    wrong |= await _not_good(session, [*read.values(), *labels])
    if wrong:
        named = [f"node {node}: {why}" for node, why in list(wrong.items())[:NAMED_AT_MOST]]
        raise NodeFault(
            "; ".join([*named, *([f"and {len(wrong) - len(named)} more"] if len(wrong) > len(named) else [])])
        )


async def keep_checking(
    session: OpcUaSession, link: StationLink, *, nodes: PlcNodes, labels: Collection[str], observe: bool
) -> None:
    """Checks now and then, and soon after somebody doubted the link, until the session is lost or a node does not serve: `NodeFault`."""
    while True:
        await asyncio.sleep(LOOK_AGAIN_AT_THE_SOONEST_S)
        await wait_at_most(LOOK_AGAIN_S, link.doubted)
        link.doubted.clear()
        await check_nodes(session, nodes=nodes, labels=labels, observe=observe)


async def _not_good(session: OpcUaSession, nodes: Sequence[str]) -> dict[str, str]:
    readings = await session.read_each(nodes)
    return {node: reading.status for node, reading in zip(nodes, readings, strict=True) if not reading.good}


async def _of_wrong_type(
    session: OpcUaSession, *, read: Mapping[str, str], written: Mapping[str, str]
) -> dict[str, str]:
    wrong = {}
    roles = {**read, **written}
    for (role, node), found in zip(roles.items(), await session.types_of(list(roles.values())), strict=True):
        expected = NODE_TYPES[role]
        if not (can_take(found, expected) if role in written else is_of_kind(found, expected)):
            wrong[node] = f"{found}, expected {expected}"
    return wrong
