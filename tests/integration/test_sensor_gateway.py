"""The sensor gateway against a real OPC UA server and broker: each sample once, and only samples."""

from __future__ import annotations

import math
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from asyncua import Server, ua
from broker import read_to_end, read_until, until
from plant_floor import counted, floor_plant, make_topics, running

from gateways import sensor_gateway
from ops.local.ports import free_ports
from schemas.plant import Asset, Channel, Plc
from schemas.sensors import SensorReading
from schemas.settings import KafkaSettings
from schemas.topics import SENSORS

DOUBLE = ua.VariantType.Double
CHANNELS = (
    Channel(name="vibration", unit="mm/s", node="s=press.Vibration", sample_ms=20),
    Channel(name="strokes", unit="1", node="i=7", sample_ms=50),
    Channel(name="gone", unit="V", node="s=press.Gone", sample_ms=50),
    Channel(name="text", unit="1", node="s=press.Text", sample_ms=50),
    Channel(name="flag", unit="1", node="s=press.Flag", sample_ms=50),
)


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    return KafkaSettings()


class Press:
    """A machine's OPC UA server: two nodes that hold numbers, two that do not."""

    def __init__(self, port: int) -> None:
        self.plc = Plc(name="plc-1", endpoint=f"opc.tcp://127.0.0.1:{port}/", namespace="urn:press", security="none")
        self._server = Server()

    async def __aenter__(self) -> Press:
        await self._server.init()
        self._server.set_endpoint(self.plc.endpoint)
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        index = await self._server.register_namespace("urn:press")
        objects = self._server.nodes.objects
        self.vibration = await objects.add_variable(ua.NodeId("press.Vibration", index), "vibration", 0.5)
        self.strokes = await objects.add_variable(ua.NodeId(7, index), "strokes", 1, ua.VariantType.UInt32)
        await objects.add_variable(ua.NodeId("press.Text", index), "text", "loud")
        await objects.add_variable(ua.NodeId("press.Flag", index), "flag", True)
        await self._server.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._server.stop()

    async def vibrate(self, value: float) -> None:
        await self._server.write_attribute_value(self.vibration.nodeid, ua.DataValue(ua.Variant(value, DOUBLE)))


@pytest.fixture
async def press() -> AsyncIterator[Press]:
    async with Press(free_ports(1)[0]) as press:
        yield press


async def test_readings_have_gap_free_sequences_and_what_is_no_number_is_counted_and_left_out(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path, press: Press
) -> None:
    asset = Asset(name="press", line="line-1", plc="plc-1", channels=CHANNELS)
    plant = floor_plant(unique_prefix, plc=press.plc, assets=(asset,))
    await make_topics(plant, settings)
    async with running(sensor_gateway.run, plant, name="sensor_gateway", plant_dir=tmp_path) as stage:
        await until(lambda: counted(stage, "noticed_total", what="wrong_type") >= 2, "text and flag are noticed")
        for value in (math.nan, math.inf):
            before = counted(stage, "noticed_total", what="not_a_number")
            await press.vibrate(value)
            await until(lambda: counted(stage, "noticed_total", what="not_a_number") > before, "noticed")  # noqa: B023
        await press.vibrate(2.25)
        found: list[SensorReading] = []

        async def loud() -> bool:
            found[:] = await read_to_end(settings, plant, SENSORS)
            return any(reading.value == 2.25 for reading in found)

        await until(loud, "the good value arrives after the bad ones")
        assert counted(stage, "noticed_total", what="bad_quality") > 0, "the node that is not there"
    found = await read_until(settings, plant, SENSORS, len(found))
    assert {reading.channel for reading in found} == {"vibration", "strokes"}
    for channel, unit in (("vibration", "mm/s"), ("strokes", "1")):
        readings = [reading for reading in found if reading.channel == channel]
        assert [reading.sequence for reading in readings] == list(range(len(readings)))
        assert {reading.unit for reading in readings} == {unit}
        assert [reading.measured_at_ns for reading in readings] == sorted(r.measured_at_ns for r in readings)
        assert len({reading.id for reading in readings}) == len(readings)
    assert {reading.value for reading in found} == {0.5, 2.25, 1.0}


async def test_quick_samples_travel_in_blocks_and_a_restart_keeps_their_sequences(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path, press: Press
) -> None:
    quick = Channel(name="vibration", unit="mm/s", node="s=press.Vibration", sample_ms=20, block_samples=5)
    asset = Asset(name="press", line="line-1", plc="plc-1", channels=(quick,))
    plant = floor_plant(unique_prefix, plc=press.plc, assets=(asset,))
    await make_topics(plant, settings)
    async with running(sensor_gateway.run, plant, name="sensor_gateway", plant_dir=tmp_path) as stage:
        await read_until(settings, plant, SENSORS, 4)
        await press.vibrate(1e300)
        await until(lambda: counted(stage, "noticed_total", what="too_large") > 0, "no float32 holds it")
        taken = counted(stage, "in_total", topic="samples")
    found = await read_to_end(settings, plant, SENSORS)
    assert [reading.sequence for reading in found] == list(range(len(found)))
    assert all(reading.value is None and reading.sample_rate_hz == 50 for reading in found)
    samples = [struct.unpack(f"<{len(reading.waveform) // 4}f", reading.waveform) for reading in found]
    assert {value for block in samples for value in block} == {0.5}
    assert max(map(len, samples)) == 5
    assert sum(map(len, samples)) >= taken - counted(stage, "noticed_total", what="too_large"), "what was begun is sent"


async def test_a_machine_that_goes_and_comes_back_is_read_on_in_the_same_session(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    press = Press(port)
    asset = Asset(name="press", line="line-1", plc="plc-1", channels=CHANNELS[:1])
    plant = floor_plant(unique_prefix, plc=press.plc, assets=(asset,))
    await make_topics(plant, settings)
    async with running(sensor_gateway.run, plant, name="sensor_gateway", plant_dir=tmp_path, ready=False) as stage:
        async with press:
            await until(lambda: stage.ready, "the machine is there")
            await read_until(settings, plant, SENSORS, 3)
        await until(lambda: not stage.ready, "the machine is gone")
        async with Press(port) as again:
            await again.vibrate(9.0)
            await until(lambda: stage.ready, "the machine is back")

            async def read_on() -> bool:
                return any(reading.value == 9.0 for reading in await read_to_end(settings, plant, SENSORS))

            await until(read_on, "it is read on")
    found = await read_to_end(settings, plant, SENSORS)
    assert [reading.sequence for reading in found] == list(range(len(found)))
    assert len({reading.session for reading in found}) == 1
