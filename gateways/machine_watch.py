"""What the machines of a PLC's stations say, by subscription: known when a command comes, without asking the PLC."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gateways.opcua_session import OpcUaSession, Reading


class MachineWatch:
    """The values of `nodes` on the session that stands. They are as old as a subscription's values are (`publishing_interval_ms` and the
    PLC's own sampling), so they may let a command pass to a second look, and refuse none."""

    def __init__(self, *, nodes: Collection[str]) -> None:
        self._nodes = tuple(nodes)
        self._session: OpcUaSession | None = None
        self._told: dict[str, Reading] = {}

    async def follow(self, session: OpcUaSession) -> None:
        """Has the PLC tell, from now on. A node that it does not tell of stays unknown, and is read for each command."""
        self._session, self._told = session, {}
        if self._nodes:
            await session.mirror(self._nodes, self._told)

    def values(self, session: OpcUaSession, fields: Mapping[str, str]) -> dict[str, Any] | None:
        """The values of `fields` (name: node) as `session` told them; None where one is not known, or not good."""
        if session is not self._session:
            return None
        values = {}
        for name, node in fields.items():
            reading = self._told.get(node)
            if reading is None or not reading.good:
                return None
            values[name] = reading.value
        return values
