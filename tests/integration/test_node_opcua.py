"""The gateway against an OPC UA server that is not ours, with a PLC program after the guide: encrypted, with a user, by URI."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from broker import publish, read_to_end, read_until, until
from peers import require_node_opcua
from plant_floor import RECIPE, STATION, counted, floor_plant, make_topics, running

from benchmarks.peers.node_opcua_plc import NodeOpcuaPlc
from gateways import plc_gateway
from gateways.certificates import write_pair
from gateways.opcua_security import CertificatesUnusable
from gateways.opcua_session import NodeFault, OpcUaSession, PlcAway
from ops.local.ports import free_ports
from schemas.commands import Command
from schemas.plant import PasswordLogin, Plc
from schemas.plc_events import PartArrived, PlcEvent, PlcFault
from schemas.reasons import CommandKind, CommandOutcome, FailSafe, VerdictValue
from schemas.settings import KafkaSettings
from schemas.topics import COMMAND_RESULTS, COMMANDS, PLC_EVENTS

LOGIN = PasswordLogin(user="linesight", password="of the test")


@pytest.fixture(scope="module", autouse=True)
def _peer_is_installed() -> None:
    require_node_opcua()


@pytest.fixture
def plc(tmp_path: Path) -> Plc:
    """An encrypted PLC with a user; the certificates of both sides are in `tmp_path`."""
    pair(tmp_path, "client")
    pair(tmp_path, "server", server=True)
    return Plc(
        name="plc-1",
        endpoint=f"opc.tcp://127.0.0.1:{free_ports(1)[0]}/",
        certificate="client.der",
        private_key="client.key",
        server_certificate="server.der",
        login=LOGIN,
        publishing_interval_ms=20,
        heartbeat_ms=100,
    )


def pair(folder: Path, name: str, *, server: bool = False) -> None:
    """Writes `<name>.der` and `<name>.key`."""
    write_pair(
        folder / f"{name}.der", folder / f"{name}.key", name=name, application_uri=f"urn:test:{name}", server=server
    )


def verdict(part_id: str) -> Command:
    now_ns = time.time_ns()
    return Command(
        id=f"verdict/{STATION}/{part_id}/1/1",
        station=STATION,
        kind=CommandKind.VERDICT,
        issued_at_ns=now_ns,
        valid_until_ns=now_ns + 60_000_000_000,
        reason_code="defect",
        part_id=part_id,
        visit=1,
        verdict=VerdictValue.NOT_OK,
        action=FailSafe.REJECT,
        arrived_at_ns=now_ns,
    )


async def test_a_foreign_plc_gives_parts_and_takes_verdicts_also_after_its_restart(
    kafka: str, unique_prefix: str, tmp_path: Path, plc: Plc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    settings = KafkaSettings()
    plant = floor_plant(unique_prefix, plc=plc)
    await make_topics(plant, settings)

    async def one_part(server: NodeOpcuaPlc, part_id: str, *, results: int) -> None:
        await server.ask("arrive", part=part_id, recipe=RECIPE, batch="b1")
        command = verdict(part_id)
        await publish(settings, plant, COMMANDS, [(STATION, command)])
        found = {result.id: result for result in await read_until(settings, plant, COMMAND_RESULTS, results)}
        assert found[command.id].outcome is CommandOutcome.ACKNOWLEDGED, found[command.id].detail
        assert (await server.ask("executed"))[-1] == command.id
        assert await server.ask("value", name="Mailbox.Verdict") == "NOT_OK"
        assert await server.ask("sessions") == 1

    gateway = AsyncExitStack()
    stage = await gateway.enter_async_context(
        running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path, ready=False)
    )
    async with gateway:
        async with NodeOpcuaPlc(plc=plc, station=STATION, folder=tmp_path) as server:
            await until(lambda: stage.ready, "the gateway has the PLC")
            await one_part(server, "p1", results=1)

            async def seen() -> bool:
                return bool(await server.ask("value", name="Handshake.TriggerSeen") == 1)

            await until(seen, "the handshake says that the trigger was seen")
            beat = await server.ask("value", name="Heartbeat.Gateway")

            async def beats() -> bool:
                return bool(await server.ask("value", name="Heartbeat.Gateway") > beat + 1)

            await until(beats, "the gateway's heart beats there")
            server.kill()
            await until(lambda: not stage.ready, "the gateway says that the PLC is gone")
        again = NodeOpcuaPlc(
            plc=plc, station=STATION, folder=tmp_path,
            session="node-opcua-2", otherNamespaces=True,
        )  # fmt: skip
        async with again as server:
            await until(lambda: stage.ready, "the gateway has the PLC again, with its namespace at another index")
            await one_part(server, "p2", results=2)
            assert counted(stage, "commands_total", outcome="acknowledged") == 2
            told: list[PlcEvent] = []

            async def both_arrived() -> bool:  # a command may be done before its part's arrival is out
                told[:] = await read_to_end(settings, plant, PLC_EVENTS)
                return [event.part_id for event in told if isinstance(event, PartArrived)] == ["p1", "p2"]

            await until(both_arrived, "both parts are told of, in order")
            away = [event.cleared for event in told if isinstance(event, PlcFault) and event.code == "plc_away"]
            assert away == [False, True]
            await gateway.aclose()
            assert await server.ask("sessions") == 0, "the gateway closed its session"


async def test_who_is_not_trusted_does_not_get_in_and_a_stranger_in_the_plcs_place_is_refused(
    tmp_path: Path, plc: Plc
) -> None:
    pair(tmp_path, "stranger", server=True)

    async def opened(client: Plc) -> OpcUaSession:
        return await OpcUaSession.open(client, plant_dir=tmp_path, name="test")

    async with NodeOpcuaPlc(plc=plc, station=STATION, folder=tmp_path) as server:
        for change in (
            {"certificate": "stranger.der", "private_key": "stranger.key"},
            {"server_certificate": "stranger.der"},
            {"login": PasswordLogin(user="linesight", password="wrong")},
            {"login": None},
        ):
            with pytest.raises(PlcAway):
                await opened(msgspec.structs.replace(plc, **change))
        with pytest.raises(NodeFault, match=r"expected namespace urn:other; it serves .*urn:linesight:station"):
            await opened(msgspec.structs.replace(plc, namespace="urn:other"))
        (tmp_path / "trusted").mkdir()
        (tmp_path / "trusted" / "stranger.der").write_bytes((tmp_path / "stranger.der").read_bytes())
        several = msgspec.structs.replace(plc, server_certificate=None, trusted_certificates="trusted")
        with pytest.raises(CertificatesUnusable, match="is none of the 1 trusted in"):
            await opened(several)
        (tmp_path / "trusted" / "server.der").write_bytes((tmp_path / "server.der").read_bytes())
        await (await opened(several)).close()
        session = await opened(plc)
        assert await session.read([f"s={STATION}.Line.Mode"]) == ["running"]
        assert await server.ask("sessions") == 1
        await session.close()
        assert await server.ask("sessions") == 0
