"""A mailbox in an asyncua server, as a process: it echoes each command, at once or in its cycle. No program behind it.

`python -m benchmarks.peers.asyncua_plc '{"endpoint": ..., "station": ..., "certificate": ..., "privateKey": ..., "cycleMs": 10}'`
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.common.callback import CallbackType

from benchmarks.peers.answering_process import AnsweringProcess
from gateways.certificates import read_facts
from gateways.station_nodes import station_nodes
from schemas.plant import Plc, PlcNodes

ACCEPTED = 1
_TYPES = {
    "command_visit": ua.VariantType.UInt16,
    "command_defect_x_px": ua.VariantType.Double,
    "command_defect_y_px": ua.VariantType.Double,
    "command_value": ua.VariantType.Double,
    "writes_allowed": ua.VariantType.Boolean,
    "command_valid_until_ns": ua.VariantType.Int64,
    "command_sequence": ua.VariantType.UInt32,
    "ack_sequence": ua.VariantType.UInt32,
    "ack_result": ua.VariantType.Int16,
    "ack_time_ns": ua.VariantType.Int64,
}

_EMPTY = {ua.VariantType.String: "", ua.VariantType.Double: 0.0, ua.VariantType.Boolean: True}


class AsyncuaPlc(AnsweringProcess):
    """The mailbox of one station at `plc`'s endpoint. `folder` holds the PLC's certificate, its key beside it as `.key`."""

    def __init__(self, *, plc: Plc, station: str, folder: Path, cycleMs: int) -> None:  # noqa: N803 - named as in the other peer
        given: dict[str, Any] = {"endpoint": plc.endpoint, "station": station, "cycleMs": cycleMs}
        if plc.security != "none":
            assert plc.server_certificate is not None
            own = folder / plc.server_certificate
            given |= {"certificate": str(own), "privateKey": str(own.with_suffix(".key"))}
        command = [sys.executable, "-m", "benchmarks.peers.asyncua_plc", json.dumps(given)]
        super().__init__(command, environment=os.environ)


class _Mailbox:
    def __init__(self, server: Server, nodes: dict[str, ua.NodeId]) -> None:
        self._server = server
        self._nodes = nodes

    async def written(self, _event: object, _dispatcher: object) -> None:
        """Called by asyncua after each write."""
        await self.scan()

    async def scan(self) -> None:
        """Answers what is in the mailbox."""
        sequence = self._read("command_sequence")
        if sequence != self._read("ack_sequence"):
            await self._write("ack_result", ACCEPTED)
            await self._write("ack_command_id", self._read("command_id"))
            await self._write("ack_time_ns", time.time_ns())
            await self._write("ack_sequence", sequence)

    def _read(self, role: str) -> Any:
        return self._server.read_attribute_value(self._nodes[role]).Value.Value

    async def _write(self, role: str, value: Any) -> None:
        variant = ua.Variant(value, _TYPES.get(role, ua.VariantType.String))
        await self._server.write_attribute_value(self._nodes[role], ua.DataValue(variant))


async def _serve(options: dict[str, Any]) -> None:
    server = Server()
    await server.init()
    server.set_endpoint(options["endpoint"])
    if "certificate" in options:
        await server.set_application_uri(read_facts(Path(options["certificate"])).application_uri)
        await server.load_certificate(options["certificate"])
        await server.load_private_key(options["privateKey"], format="pem")
        server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
    else:
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(Plc(name="", endpoint="").namespace)
    nodes: dict[str, ua.NodeId] = {}
    for role, identifier in _mailbox_nodes(options["station"]).items():
        nodes[role] = ua.NodeId.from_string(f"ns={index};{identifier}")
        kind = _TYPES.get(role, ua.VariantType.String)
        empty: Any = _EMPTY.get(kind, 0)
        variable = await server.nodes.objects.add_variable(nodes[role], role, ua.Variant(empty, kind))
        await variable.set_writable()
    mailbox = _Mailbox(server, nodes)
    if not options["cycleMs"]:
        server.subscribe_server_callback(CallbackType.PostWrite, mailbox.written)
    async with server:
        print(json.dumps({"listening": True}), flush=True)
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        while not ended.done():
            if options["cycleMs"]:
                await mailbox.scan()
            await asyncio.wait([ended], timeout=options["cycleMs"] / 1000 or None)


def _mailbox_nodes(station: str) -> dict[str, str]:
    nodes = station_nodes(PlcNodes(), station)
    return {
        role: getattr(nodes, role)
        for role in nodes.__struct_fields__
        if role.startswith(("command_", "ack_", "writes_"))
    }


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
