"""Command round trips through our mailbox and by a bare asyncua client, against the servers of asyncua and node-opcua.

A round trip: payload, then sequence, each in one write, then reads of the echo until it is there; encrypted, one after the other. The
bare client reads the echo without a pause and checks nothing else. The servers answer in a cycle of
10 ms, as a PLC does, or as soon as the sequence is written, which shows what the client itself takes.
`python -m benchmarks.command_round_trips` writes run/command-round-trips.json.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from asyncua import Client, ua

from benchmarks.peers.answering_process import AnsweringProcess
from benchmarks.peers.asyncua_plc import AsyncuaPlc
from benchmarks.peers.node_opcua_install import install
from benchmarks.peers.node_opcua_plc import NodeOpcuaPlc
from benchmarks.results_file import Row, Section, machine, write
from gateways.certificates import write_pair
from gateways.command_mailbox import CommandMailbox
from gateways.departed_parts import DepartedParts
from gateways.interlocks import StationInterlocks
from gateways.machine_watch import MachineWatch
from gateways.opcua_security import secure
from gateways.opcua_session import OpcUaSession
from gateways.plc_link import PlcLink
from gateways.station_link import StationLink, node_fault_gauge
from gateways.station_nodes import station_nodes
from ops.local.ports import free_ports
from schemas.commands import Command
from schemas.interlocks import Interlocks
from schemas.plant import PasswordLogin, Plc, PlcNodes
from schemas.reasons import CommandKind, CommandOutcome, FailSafe, VerdictValue
from schemas.telemetry import Stage

STATION = "station"
AT_LEAST = 0.8
ROUNDS = 5
COMMANDS = {10: 100, 0: 300}
"""By the server's cycle in ms: commands in a round, after `WARM` that do not count."""
WARM = 20
VALID_NS = 60_000_000_000
NODES = station_nodes(PlcNodes(), STATION)
PAYLOAD: dict[str, tuple[Callable[[Command], Any], ua.VariantType]] = {
    "command_id": (lambda command: command.id, ua.VariantType.String),
    "command_kind": (lambda command: command.kind.value, ua.VariantType.String),
    "command_part_id": (lambda command: command.part_id, ua.VariantType.String),
    "command_visit": (lambda command: command.visit, ua.VariantType.UInt16),
    "command_verdict": (lambda command: str(command.verdict), ua.VariantType.String),
    "command_action": (lambda command: str(command.action), ua.VariantType.String),
    "command_reason": (lambda command: command.reason_code, ua.VariantType.String),
    "command_defect_class": (lambda command: command.defect_class, ua.VariantType.String),
    "command_defect_view": (lambda command: command.defect_view, ua.VariantType.String),
    "command_defect_x_px": (lambda command: command.defect_x_px, ua.VariantType.Double),
    "command_defect_y_px": (lambda command: command.defect_y_px, ua.VariantType.Double),
    "command_parameter": (lambda command: command.parameter, ua.VariantType.String),
    "command_value": (lambda command: command.value, ua.VariantType.Double),
    "command_valid_until_ns": (lambda command: command.valid_until_ns, ua.VariantType.Int64),
}
_ANSWERS = {10: "a cycle of 10 ms", 0: "at once"}

Candidate = Callable[[Plc, Path, int], Awaitable[list[float]]]
"""Seconds that each of so many commands took."""


def command_round_trips(*, rounds: int = ROUNDS, say: Callable[[str], None] = print) -> Section:
    """Rates and p99 of both candidates, in turn. Raises `NodeOpcuaMissing`."""
    install()
    return asyncio.run(_all(rounds, say))


async def _all(rounds: int, say: Callable[[str], None]) -> Section:
    rows: list[Row] = []
    raw = {}
    for cycle_ms, commands in COMMANDS.items():
        for library in ("asyncua", "node-opcua"):
            where = f"{library} server, {_ANSWERS[cycle_ms]}"
            found: dict[str, list[list[float]]] = {"mailbox": [], "raw client": []}
            with tempfile.TemporaryDirectory() as folder:
                plc = _encrypted_plc(Path(folder))
                async with _server(library, plc, Path(folder), cycle_ms):
                    for _ in range(rounds):
                        for name, candidate in (("raw client", _raw), ("mailbox", _ours)):
                            found[name].append(await candidate(plc, Path(folder), commands))
            # the two of a round stand next to each other: what else the machine does meets both
            rates = {name: [len(took) / sum(took) for took in each] for name, each in found.items()}
            rows += [
                Row(
                    name=f"command round trips, {where}: mailbox / raw client",
                    value=round(statistics.median(ours / bare for ours, bare in zip(*rates.values(), strict=True)), 3),
                    unit="ratio",
                    at_least=AT_LEAST,
                ),
                *(
                    Row(name=f"command round trips, {where}: {what}{suffix}", value=round(value, 2), unit=unit)
                    for name, suffix in (("mailbox", ""), ("raw client", ", raw client"))
                    for what, value, unit in (
                        ("rate", statistics.median(rates[name]), "commands/s"),
                        ("p99", 1000 * _p99(found[name]), "ms"),
                    )
                ),
            ]  # fmt: skip
            say(f"{where}: {rows[-5].value} of the raw client's rate")
            raw[where] = {name: [[round(1000 * s, 2) for s in took] for took in each] for name, each in found.items()}
    return Section(rows=rows, raw=raw)


def _p99(rounds: list[list[float]]) -> float:
    return statistics.quantiles([took for each in rounds for took in each], n=100)[98]


def _encrypted_plc(folder: Path) -> Plc:
    for name in ("client", "server"):
        write_pair(
            folder / f"{name}.der", folder / f"{name}.key",
            name=name, application_uri=f"urn:bench:{name}", server=name == "server",
        )  # fmt: skip
    return Plc(
        name="plc",
        endpoint=f"opc.tcp://127.0.0.1:{free_ports(1)[0]}/",
        certificate="client.der",
        private_key="client.key",
        server_certificate="server.der",
        login=PasswordLogin(user="linesight", password="bench"),
    )


def _server(library: str, plc: Plc, folder: Path, cycle_ms: int) -> AnsweringProcess:
    if library == "asyncua":
        return AsyncuaPlc(plc=plc, station=STATION, folder=folder, cycleMs=cycle_ms)
    return NodeOpcuaPlc(plc=plc, station=STATION, folder=folder, cycleMs=cycle_ms, holdsEveryPart=True)


async def _ours(plc: Plc, folder: Path, count: int) -> list[float]:
    """Through the gateway's link and mailbox."""
    stage = Stage("plc_gateway")
    link = PlcLink(
        plc=plc,
        plant_dir=folder,
        stage=stage,
        writable=[getattr(NODES, role) for role in (*PAYLOAD, "command_sequence")],
    )
    station = StationLink(station=STATION, stage=stage, gauge=node_fault_gauge(stage))
    departed = DepartedParts()
    interlocks = StationInterlocks(interlocks=Interlocks(), nodes=NODES, began_at_ns=time.time_ns(), departed=departed)
    watch = MachineWatch(nodes=interlocks.nodes)
    mailbox = CommandMailbox(
        nodes=NODES, link=station, stage=stage, acknowledge_timeout_ms=5000, observe=False,
        interlocks=interlocks, machine=watch, departed=departed,
    )  # fmt: skip

    async def follow(session: OpcUaSession) -> None:
        """As the gateway does: what the machine says is watched, and which parts have left is known (none)."""
        departed.is_read(session)
        await watch.follow(session)
        station.stands(session)
        await session.until_lost()

    keeping = asyncio.create_task(link.run(follow))
    try:
        await mailbox.reached(within_s=10)
        took = []
        for number in range(WARM + count):
            command = _command(f"{time.time_ns()}/{number}")
            began_s = time.perf_counter()
            result = await mailbox.deliver(command)
            took.append(time.perf_counter() - began_s)
            assert result.outcome is CommandOutcome.ACKNOWLEDGED, result.detail
        return took[WARM:]
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def _raw(plc: Plc, folder: Path, count: int) -> list[float]:
    """A loop around asyncua's client."""
    client = Client(plc.endpoint)
    await secure(client, plc, plant_dir=folder)
    async with client:
        index = await client.get_namespace_index(plc.namespace)
        payload, (sequence_node,), echo = (
            [ua.NodeId.from_string(f"ns={index};{getattr(NODES, role)}") for role in roles]
            for roles in (PAYLOAD, ("command_sequence",), ("ack_sequence", "ack_command_id", "ack_result"))
        )
        (found,) = await client.uaclient.read_attributes([sequence_node], ua.AttributeIds.Value)
        sequence = found.Value.Value
        took = []
        for number in range(WARM + count):
            command = _command(f"{time.time_ns()}/{number}")
            began_s = time.perf_counter()
            values = [ua.DataValue(ua.Variant(value(command), kind)) for value, kind in PAYLOAD.values()]
            await client.uaclient.write_attributes(payload, values, ua.AttributeIds.Value)
            sequence += 1
            asked = ua.DataValue(ua.Variant(sequence, ua.VariantType.UInt32))
            await client.uaclient.write_attributes([sequence_node], [asked], ua.AttributeIds.Value)
            while True:
                answer = await client.uaclient.read_attributes(echo, ua.AttributeIds.Value)
                if answer[0].Value.Value == sequence:
                    break
            took.append(time.perf_counter() - began_s)
            assert [one.Value.Value for one in answer] == [sequence, command.id, 1]
        return took[WARM:]


def _command(number: str) -> Command:
    now_ns = time.time_ns()
    return Command(
        id=f"verdict/{STATION}/{number}",
        station=STATION,
        kind=CommandKind.VERDICT,
        issued_at_ns=now_ns,
        valid_until_ns=now_ns + VALID_NS,
        reason_code="defect",
        part_id=number,
        visit=1,
        verdict=VerdictValue.NOT_OK,
        action=FailSafe.REJECT,
        defect_class="open",
        defect_view="top",
        defect_x_px=1.0,
        defect_y_px=1.0,
    )


def main() -> None:
    """Measures, prints, writes the file."""
    then = machine()
    section = command_round_trips()
    for row in section.rows:
        print(f"{row.name}: {row.value:g} {row.unit}" + {True: "", False: "  NOT MET", None: ""}[row.met])
    write(Path("run/command-round-trips.json"), rows=section.rows, machine_then=then, details=section.raw)


if __name__ == "__main__":
    main()
