"""A client of the simulated PLC, as raw as a foreign one: what a test reads and writes there."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from asyncua import Client, ua

from gateways.opcua_security import secure
from schemas.plant import Plc, PlcNodes
from schemas.reasons import PLC_CODES, PlcAnswer

STATION = "aoi-1"
GATE_MS = 400
WAIT_S = 10.0

STRING, UINT16, UINT32, INT64 = (
    ua.VariantType.String,
    ua.VariantType.UInt16,
    ua.VariantType.UInt32,
    ua.VariantType.Int64,
)


class Peer:
    """A client of the PLC that knows the nodes of the plant file."""

    def __init__(self, client: Client, index: int) -> None:
        self.client = client
        self.index = index

    def node(self, role: str) -> Any:
        identifier = getattr(PlcNodes(), role).replace("{station}", STATION)
        return self.client.get_node(f"ns={self.index};{identifier}")

    async def read(self, *roles: str) -> list[Any]:
        values: list[Any] = await self.client.read_values([self.node(role) for role in roles])
        return values

    async def write(self, sequence: int, **fields: Any) -> None:
        """The payload in one write, the sequence in a second one."""
        payload = {
            "command_id": (f"c{sequence}", STRING),
            "command_kind": ("verdict", STRING),
            "command_part_id": ("p0", STRING),
            "command_visit": (1, UINT16),
            "command_verdict": ("OK", STRING),
            "command_action": ("reject", STRING),
            "command_reason": ("defect", STRING),
            "command_valid_until_ns": (time.time_ns() + 60 * 10**9, INT64),
        }
        for role, value in fields.items():
            payload[role] = (value, payload[role][1])
        await self.client.write_values(
            [self.node(role) for role in payload], [ua.Variant(value, kind) for value, kind in payload.values()]
        )
        await self.node("command_sequence").write_value(ua.Variant(sequence, UINT32))

    async def command(self, sequence: int, **fields: Any) -> PlcAnswer:
        await self.write(sequence, **fields)
        await until(lambda: self._acknowledges(sequence))
        (result,) = await self.read("ack_result")
        return PLC_CODES[result]

    async def _acknowledges(self, sequence: int) -> bool:
        return await self.read("ack_sequence") == [sequence]

    async def call(self, owner: str, method: str, *arguments: str | float) -> Any:
        node = self.client.get_node(f"ns={self.index};s={owner}")
        return await node.call_method(
            ua.NodeId(f"{owner}.{method}", self.index),
            *[ua.Variant(each, STRING if isinstance(each, str) else ua.VariantType.Double) for each in arguments],
        )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.005)


@asynccontextmanager
async def connected(plc: Plc, *, plant_dir: Path = Path()) -> AsyncIterator[Peer]:
    client = Client(plc.endpoint)
    await secure(client, plc, plant_dir=plant_dir)
    async with client:
        yield Peer(client, await client.get_namespace_index(plc.namespace))
