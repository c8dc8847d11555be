"""A session to a PLC: encrypted with a pinned certificate, typed, confined to its nodes, never left behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from asyncua import Server, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from broker import until
from cryptography.x509.oid import ExtendedKeyUsageOID
from plant_floor import STATION, Floor

from gateways import opcua_session, plc_link
from gateways.node_watch import NodeWatch
from gateways.opcua_security import CertificatesUnusable
from gateways.opcua_session import NodeFault, OpcUaSession, PlcAway
from gateways.plc_link import PlcLink
from gateways.station_nodes import station_nodes, writable_nodes
from ops.local.ports import free_ports
from schemas.errors import ConfigurationError
from schemas.plant import Plc
from schemas.telemetry import Stage

NODES = station_nodes(Floor().plc.nodes, STATION)


async def certificate(folder: Path, name: str, *, usage: list[object] | None = None) -> None:
    """Writes `<name>.key` and `<name>.der`, valid for an application on this host."""
    await setup_self_signed_certificate(
        folder / f"{name}.key",
        folder / f"{name}.der",
        f"urn:test:{name}",
        socket.gethostname(),
        usage or [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH],  # type: ignore[list-item]
        {"commonName": name},
    )


@asynccontextmanager
async def encrypted_server(folder: Path, *, name: str = "server") -> AsyncIterator[Plc]:
    """A server that speaks Basic256Sha256 only."""
    await certificate(folder, name)
    (port,) = free_ports(1)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
    await server.set_application_uri(f"urn:test:{name}")
    server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
    await server.load_certificate(str(folder / f"{name}.der"))
    await server.load_private_key(str(folder / f"{name}.key"), format="pem")
    index = await server.register_namespace("urn:linesight:station")
    await server.nodes.objects.add_variable(ua.NodeId("value", index), "value", 42)
    async with server:
        yield Plc(
            name="plc-1",
            endpoint=f"opc.tcp://127.0.0.1:{port}/",
            certificate="client.der",
            private_key="client.key",
            server_certificate="server.der",
        )


async def test_an_encrypted_session_reads_and_a_stranger_in_the_servers_place_is_refused(tmp_path: Path) -> None:
    await certificate(tmp_path, "client")
    async with encrypted_server(tmp_path) as plc:
        session = await OpcUaSession.open(plc, plant_dir=tmp_path, name="test")
        assert await session.read(["s=value"]) == [42]
        await session.close()
        await certificate(tmp_path, "stranger")
        (tmp_path / "server.der").write_bytes((tmp_path / "stranger.der").read_bytes())
        with pytest.raises(PlcAway):
            await OpcUaSession.open(plc, plant_dir=tmp_path, name="test")


async def test_certificate_files_that_cannot_be_used_are_a_matter_of_configuration(tmp_path: Path) -> None:
    plc = Plc(
        name="plc-1",
        endpoint="opc.tcp://127.0.0.1:9/",
        certificate="client.der",
        private_key="client.key",
        server_certificate="server.der",
    )
    with pytest.raises(ConfigurationError, match=r"plc-1.*client\.der"):
        await OpcUaSession.open(plc, plant_dir=tmp_path, name="test")
    await certificate(tmp_path, "client")
    await certificate(tmp_path, "server")
    for name, expected in (
        ("client.der", "a certificate"),
        ("client.key", "a private key"),
        ("server.der", "a certificate"),
    ):
        good = (tmp_path / name).read_bytes()
        for damaged in (b"", b"neither", good[: len(good) // 2]):
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(CertificatesUnusable, match=rf"plc-1: expected {expected}.*{name}; put it there"):
                await OpcUaSession.open(plc, plant_dir=tmp_path, name="test")
        (tmp_path / name).write_bytes(good)


async def test_only_the_nodes_it_was_opened_for_can_be_written_and_each_in_its_type(tmp_path: Path) -> None:
    async with Floor() as floor:
        session = await OpcUaSession.open(floor.plc, plant_dir=tmp_path, name="test", writable=writable_nodes(NODES))
        await session.write({NODES.command_visit: 3, NODES.command_id: "c", NODES.command_valid_until_ns: 2**62})
        assert (floor.value("command_visit"), floor.value("command_id")) == (3, "c")
        await session.write({})
        assert not session.lost
        with pytest.raises(ValueError, match="not among the nodes"):
            await session.write({NODES.line_mode: "stopped"})
        with pytest.raises(NodeFault, match="does not fit"):
            await session.write({NODES.command_visit: 70_000})
        assert not session.lost
        await session.close()
        assert floor.sessions == 0


async def test_what_does_not_fit_the_plant_file_is_named(tmp_path: Path) -> None:
    async with Floor() as floor:
        elsewhere = Plc(name="plc-1", endpoint=floor.plc.endpoint, namespace="urn:other", security="none")
        with pytest.raises(NodeFault, match=r"expected namespace urn:other; it serves .*urn:linesight:station"):
            await OpcUaSession.open(elsewhere, plant_dir=tmp_path, name="test")
        session = await OpcUaSession.open(floor.plc, plant_dir=tmp_path, name="test", writable=["s=nowhere"])
        with pytest.raises(NodeFault, match=r"s=nowhere: BadNodeIdUnknown"):
            await session.write({"s=nowhere": 1})
        with pytest.raises(NodeFault, match=r"s=gone: BadNodeIdUnknown"):
            await session.read([NODES.trigger_count, "s=gone"])
        with pytest.raises(NodeFault, match=r"s=gone cannot be watched"):
            await NodeWatch(session, publishing_ms=20, changed=lambda _node: None).add(["s=gone"])
        with pytest.raises(ConfigurationError, match="expected `s=Name` or `i=Number`"):
            await session.read(["what"])
        await session.close()
        assert floor.sessions == 0


async def test_a_server_that_accepts_and_never_answers_is_away_in_bounded_time(tmp_path: Path) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(PlcAway):
            async with asyncio.timeout(20):
                await OpcUaSession.open(
                    Plc(name="mute", endpoint=f"opc.tcp://127.0.0.1:{port}/", security="none"),
                    plant_dir=tmp_path,
                    name="test",
                )


async def test_a_hundred_sessions_that_were_closed_are_gone_from_the_plc(tmp_path: Path) -> None:
    async with Floor() as floor:
        for _ in range(100):
            session = await OpcUaSession.open(floor.plc, plant_dir=tmp_path, name="test")
            await NodeWatch(session, publishing_ms=20, changed=lambda _node: None).add([NODES.trigger_count])
            assert floor.sessions == 1
            await session.close()
        assert floor.sessions == 0


@pytest.mark.parametrize("cuts", [5, pytest.param(100, marks=pytest.mark.soak)])
async def test_after_many_cuts_the_link_stands_again_and_leaves_no_session_behind(
    tmp_path: Path, cuts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plc_link, "SETTLED_AFTER_S", 0.0)  # each session counts as settled: pauses do not grow
    monkeypatch.setattr(
        opcua_session, "SESSION_TIMEOUT_MS", 3_000
    )  # a tenth of the real one: so long the PLC keeps a session
    async with Floor() as floor:
        seen: list[str] = []
        link = PlcLink(
            plc=floor.plc,
            plant_dir=tmp_path,
            stage=Stage("plc_gateway"),
            came_up=lambda: seen.append("up"),
            went_down=lambda _reason: seen.append("down"),
        )

        async def work(session: OpcUaSession) -> None:
            changed: Callable[[str], None] = lambda _node: None  # noqa: E731
            await NodeWatch(session, publishing_ms=20, changed=changed).add([NODES.trigger_count])
            await session.until_lost()

        running = asyncio.create_task(link.run(work))
        for _ in range(cuts):
            await until(lambda: link.up, "the link stands")
            await floor.cable.cut()
            await until(lambda: not link.up, "the link is down")
            await floor.cable.plug()
        await until(lambda: link.up, "the link stands")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert seen[0] == "up"
        assert seen.count("up") == cuts + 1
        await until(lambda: floor.sessions == 0, "the PLC has dropped the sessions of cut cables", within_s=45)
