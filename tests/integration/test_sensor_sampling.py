"""Sampling by a server that really samples, and is not ours (node-opcua): encrypted, counted on both sides."""

from __future__ import annotations

import itertools
import struct
from collections import defaultdict
from pathlib import Path

import pytest
from broker import read_to_end, until
from peers import require_node_opcua
from plant_floor import STATION, counted, floor_plant, make_topics, running

from benchmarks.peers.node_opcua_plc import NodeOpcuaPlc
from gateways import sensor_gateway
from gateways.certificates import write_pair
from gateways.opcua_notifications import Publication
from gateways.opcua_session import OpcUaSession
from gateways.opcua_subscriptions import Monitored
from ops.local.ports import free_ports
from schemas.plant import Asset, Channel, PasswordLogin, Plc
from schemas.sensors import SensorReading
from schemas.settings import KafkaSettings
from schemas.topics import SENSORS

TAGS = 8


@pytest.fixture(scope="module", autouse=True)
def _peer_is_installed() -> None:
    require_node_opcua()


@pytest.fixture
def plc(tmp_path: Path) -> Plc:
    """An encrypted PLC with a user; the certificates of both sides are in `tmp_path`."""
    for name, server in (("client", False), ("server", True)):
        pair = tmp_path / f"{name}.der", tmp_path / f"{name}.key"
        write_pair(*pair, name=name, application_uri=f"urn:test:{name}", server=server)
    return Plc(
        name="plc-1",
        endpoint=f"opc.tcp://127.0.0.1:{free_ports(1)[0]}/",
        certificate="client.der",
        private_key="client.key",
        server_certificate="server.der",
        login=PasswordLogin(user="linesight", password="of the test"),
        publishing_interval_ms=20,
    )


def values(readings: list[SensorReading]) -> dict[str, list[float]]:
    """All samples of each channel, in their order."""
    found: dict[str, list[float]] = defaultdict(list)
    for reading in readings:
        block = reading.waveform or b""
        found[reading.channel] += struct.unpack(f"<{len(block) // 4}f", block) if block else [reading.value or 0.0]
    return found


async def test_no_sample_that_the_server_took_is_missing_and_a_constant_is_there_all_the_time(
    kafka: str, unique_prefix: str, tmp_path: Path, plc: Plc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    settings = KafkaSettings()
    channels = [
        Channel(name=f"tag-{place}", unit="1", node=f"s=Tag.{place}", sample_ms=50, block_samples=10)
        for place in range(TAGS)
    ]
    channels.append(Channel(name="constant", unit="Cel", node="s=Constant.0", sample_ms=50))
    asset = Asset(name="press", line="line-1", plc="plc-1", channels=tuple(channels))
    plant = floor_plant(unique_prefix, plc=plc, assets=(asset,))
    await make_topics(plant, settings)
    peer = NodeOpcuaPlc(plc=plc, station=STATION, folder=tmp_path, tags=TAGS, constants=1)
    async with peer as server, running(sensor_gateway.run, plant, name="sensor_gateway", plant_dir=tmp_path) as stage:
        await server.ask("count")

        async def sampled() -> bool:
            found = values(await read_to_end(settings, plant, SENSORS))
            return max(found["tag-0"], default=0) >= 60 and len(found["constant"]) >= 60

        await until(sampled, "sixty samples of each")
        given = await server.ask("stop")

        async def all_there() -> bool:
            found = values(await read_to_end(settings, plant, SENSORS))
            return all(max(found[f"tag-{place}"]) >= given[place] for place in range(TAGS))

        await until(all_there, "the last samples are on the topic")
        assert counted(stage, "noticed_total", what="samples_lost") == 0
    readings = await read_to_end(settings, plant, SENSORS)
    found = values(readings)
    for place in range(TAGS):
        assert set(range(1, given[place] + 1)) <= set(found[f"tag-{place}"]), f"tag {place} of {given[place]} samples"
        assert found[f"tag-{place}"] == sorted(found[f"tag-{place}"]), "in order"
    assert set(found["constant"]) == {7.5}
    constant = [reading for reading in readings if reading.channel == "constant"]
    steps = {b.measured_at_ns - a.measured_at_ns for a, b in itertools.pairwise(constant)}
    assert steps == {50_000_000}, "one a period"


async def test_a_queue_that_is_too_short_says_which_samples_are_behind_a_loss(tmp_path: Path, plc: Plc) -> None:
    async with NodeOpcuaPlc(plc=plc, station=STATION, folder=tmp_path, tags=1) as server:
        session = await OpcUaSession.open(plc, plant_dir=tmp_path, name="test")
        told: list[Publication] = []
        subscription = await session.subscribe(500, told.append)
        (granted,) = await session.monitor(subscription, [Monitored(0, "s=Tag.0", 20, 3)])
        assert (granted.refused, granted.queue) == ("", 3)
        await server.ask("count")
        await until(lambda: len(told) >= 4, "publications")
        reports = [report for publication in told for report in publication.reports]
        await session.close()
    counts = [int(report.value) for report in reports]
    assert any(report.overflowed for report in reports)
    for before, after, report in zip(counts, counts[1:], reports[1:], strict=False):
        assert after in (before, before + 1) or report.overflowed, f"{before} -> {after} without a word"


async def test_a_deadband_keeps_small_changes_away_and_a_node_that_takes_none_is_told(
    kafka: str, unique_prefix: str, tmp_path: Path, plc: Plc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    settings = KafkaSettings()
    channels = (
        Channel(name="coarse", unit="1", node="s=Tag.0", sample_ms=20, deadband=9.5),
        Channel(name="text", unit="1", node=f"s={STATION}.Session", sample_ms=20, deadband=1.0),
    )
    plant = floor_plant(
        unique_prefix, plc=plc, assets=(Asset(name="press", line="line-1", plc="plc-1", channels=channels),)
    )
    await make_topics(plant, settings)
    peer = NodeOpcuaPlc(plc=plc, station=STATION, folder=tmp_path, tags=1)
    async with peer as server, running(sensor_gateway.run, plant, name="sensor_gateway", plant_dir=tmp_path) as stage:
        await until(lambda: counted(stage, "noticed_total", what="bad_quality") > 0, "the text takes no deadband")
        await server.ask("count")

        async def sampled() -> bool:
            return max(values(await read_to_end(settings, plant, SENSORS))["coarse"], default=0) >= 60

        await until(sampled, "sixty samples")
    found = values(await read_to_end(settings, plant, SENSORS))
    assert set(found) == {"coarse"}
    steps = {b - a for a, b in zip(found["coarse"], found["coarse"][1:], strict=False)}
    assert min(steps - {0}) >= 10, "nothing within the deadband"
    assert 0 in steps, "and a sample a period all the same"
