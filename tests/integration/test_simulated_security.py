"""The simulated PLC is encrypted as a real one is: its certificates are made once, and it lets in only whom it trusts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from plant_floor import counted, floor_plant

from cli.simulated_certificates import commission
from gateways.certificates import Pair, files_of, read_facts, write_pair
from gateways.opcua_session import OpcUaSession, PlcAway
from gateways.plc_link import PlcLink
from ops.local.ports import free_ports
from schemas.errors import ConfigurationError
from schemas.plant import CertificateLogin, Login, PasswordLogin, Plant, Plc
from schemas.telemetry import Stage
from simulation.plc import PlcServer
from simulation.plc_security import PlcIdentity
from simulation.station import Answer, Departure, Request, Station

WAIT_S = 20


class Nobody:
    """Takes no notice."""

    def asked(self, station: Station, request: Request, answer: Answer) -> None:
        pass

    def executed(self, station: Station, request: Request, at_ns: int) -> None:
        """Nothing."""

    def left(self, station: Station, departure: Departure) -> None:
        """Nothing."""


@pytest.fixture
def plant() -> Plant:
    (port,) = free_ports(1)
    plc = Plc(
        name="plc-1",
        endpoint=f"opc.tcp://127.0.0.1:{port}/",
        certificate="certs/ours.der",
        private_key="certs/ours.key",
        server_certificate="certs/plc.der",
    )
    return floor_plant("secure", plc=plc)


@asynccontextmanager
async def serving(plant: Plant, identity: PlcIdentity | None) -> AsyncIterator[None]:
    station = Station(name=plant.stations[0].name, session="s", gate_after_ms=1000)
    async with PlcServer(plc=plant.plcs[0], stations=[station], observer=Nobody(), identity=identity):
        yield


async def connects(plant: Plant, folder: Path) -> bool:
    try:
        session = await OpcUaSession.open(plant.plcs[0], plant_dir=folder, name="test")
    except PlcAway:
        return False
    await session.close()
    return True


def with_login(plant: Plant, login: Login) -> Plant:
    return msgspec.structs.replace(plant, plcs=(msgspec.structs.replace(plant.plcs[0], login=login),))


def remake(pair: Pair, *, days: int = 730, uri: str = "urn:stranger") -> None:
    write_pair(pair.certificate, pair.private_key, name="stranger", application_uri=uri, days=days)


async def test_only_the_trusted_client_is_let_in_and_its_next_certificate_while_the_plc_runs(
    plant: Plant, tmp_path: Path
) -> None:
    identity = commission(plant, plant_dir=tmp_path)
    ours = files_of(plant.plcs[0], plant_dir=tmp_path).own
    async with serving(plant, identity):
        assert await connects(plant, tmp_path)
        remake(ours.upcoming)
        ours.switch()
        assert await connects(plant, tmp_path)
        (tmp_path / "elsewhere").mkdir()
        stranger = tmp_path / "elsewhere" / "certs"
        stranger.mkdir()
        (stranger / "plc.der").write_bytes((tmp_path / "certs" / "plc.der").read_bytes())
        remake(Pair(certificate=stranger / "ours.der", private_key=stranger / "ours.key"))
        assert not await connects(plant, tmp_path / "elsewhere")


async def test_a_client_whose_certificate_has_ended_is_not_let_in(plant: Plant, tmp_path: Path) -> None:
    identity = commission(plant, plant_dir=tmp_path)
    ours = files_of(plant.plcs[0], plant_dir=tmp_path).own
    async with serving(plant, identity):
        remake(ours, days=0)
        assert not await connects(plant, tmp_path)


async def test_a_user_logs_in_with_password_or_certificate_and_nobody_else(plant: Plant, tmp_path: Path) -> None:
    user = Pair(certificate=tmp_path / "user.der", private_key=tmp_path / "user.key")
    remake(user)
    for login in (
        PasswordLogin(user="linesight", password="right"),
        CertificateLogin(certificate="user.der", private_key="user.key"),
    ):
        asked = with_login(plant, login)
        async with serving(asked, commission(asked, plant_dir=tmp_path)):
            assert await connects(asked, tmp_path)
            assert not await connects(plant, tmp_path), "anonymously"
            assert not await connects(with_login(plant, PasswordLogin(user="linesight", password="wrong")), tmp_path)
    remake(Pair(certificate=tmp_path / "other.der", private_key=tmp_path / "other.key"))
    async with serving(asked, commission(asked, plant_dir=tmp_path)):
        other = CertificateLogin(certificate="other.der", private_key="other.key")
        assert not await connects(with_login(plant, other), tmp_path)
        absent = CertificateLogin(certificate="absent.der", private_key="other.key")
        with pytest.raises(ConfigurationError, match=r"login.*absent\.der"):
            await connects(with_login(plant, absent), tmp_path)


async def test_certificates_are_made_once_and_again_when_they_have_ended(plant: Plant, tmp_path: Path) -> None:
    commission(plant, plant_dir=tmp_path)
    files = files_of(plant.plcs[0], plant_dir=tmp_path)
    made = {file: file.read_bytes() for file in (tmp_path / "certs").iterdir()}
    assert len(made) == 4
    commission(plant, plant_dir=tmp_path)
    assert {file: file.read_bytes() for file in made} == made
    remake(files.own, days=0)
    commission(plant, plant_dir=tmp_path)
    assert read_facts(files.own.certificate).thumbprint
    async with serving(plant, commission(plant, plant_dir=tmp_path)):
        assert await connects(plant, tmp_path)


async def test_a_real_plcs_certificate_is_never_replaced(plant: Plant, tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    pinned = tmp_path / "certs" / "plc.der"
    write_pair(pinned, tmp_path / "its own.key", name="PLC", application_uri="urn:plc", server=True)
    before = pinned.read_bytes()
    with pytest.raises(ConfigurationError, match="without its partner"):
        commission(plant, plant_dir=tmp_path)
    assert pinned.read_bytes() == before
    assert not (tmp_path / "certs" / "ours.key").exists()


def test_certificates_of_a_plant_that_wants_none_are_not_made(tmp_path: Path) -> None:
    plc = Plc(name="plc-1", endpoint="opc.tcp://127.0.0.1:9/", security="none")
    assert commission(floor_plant("open", plc=plc), plant_dir=tmp_path) is None
    assert not (tmp_path / "certs").exists()


async def test_a_link_waits_for_certificates_that_are_not_there_yet(plant: Plant, tmp_path: Path) -> None:
    """`linesight up` may be started before its plant: the gateway goes on as soon as the files are there."""
    up = asyncio.Event()
    stage = Stage("plc_gateway")
    link = PlcLink(plc=plant.plcs[0], plant_dir=tmp_path, stage=stage, came_up=up.set)

    async def stay(_session: OpcUaSession) -> None:
        await asyncio.Event().wait()

    running = asyncio.create_task(link.run(stay))
    try:
        async with asyncio.timeout(WAIT_S):
            while not counted(stage, "retried_total", reason="plc"):
                assert not running.done()
                await asyncio.sleep(0.02)
        assert not up.is_set()
        async with serving(plant, commission(plant, plant_dir=tmp_path)):
            await asyncio.wait_for(up.wait(), WAIT_S)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
