"""The disk spool with a real broker that is away: what gateways had to tell arrives, in order, once they have it again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from broker import read_to_end, read_until, until
from plant_floor import (
    STATION,
    VIEWS,
    Floor,
    counted,
    floor_plant,
    gateway_process,
    http_source,
    make_topics,
    running,
)
from test_station_gateway import Line

from gateways import outbox, plc_gateway, station_gateway
from gateways.outbox import Fate
from gateways.publisher import RecordPublisher
from gateways.segment import HEADER_BYTES, Segment
from gateways.spool import open_spool
from ops.local.kafka import LocalKafka
from ops.local.ports import free_ports
from processors.ledger import Ledger
from schemas.codec import decode
from schemas.frames import Frame, ImageEncoding, Manifest, frame_id
from schemas.inspections import Inspection
from schemas.plant import Camera, ExternalSource, Plant
from schemas.plc_events import PartArrived, PlcFault
from schemas.reasons import FrameOutcome
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import BY_NAME, FRAMES, INSPECTIONS, MANIFESTS, MIB_BYTES, PLC_EVENTS
from simulation.cameras import CameraServer

GATE_AFTER_MS = 3_000


@pytest.fixture
def broker(mortal_kafka: LocalKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalKafka:
    """A broker to be killed, and what gateways need besides."""
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", mortal_kafka.bootstrap_servers)
    return mortal_kafka


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    (port,) = free_ports(1)
    cameras = CameraServer([Camera(name=view, views=(view,), source=http_source(port, view)) for view in VIEWS])
    async with Floor() as floor, cameras:
        yield Line(floor, cameras, port)


def on_disk(folder: Path, kind: type[Any]) -> list[Any]:
    """The messages of one kind in the spools below `folder`, which their owners may be writing."""
    found = []
    with tempfile.TemporaryDirectory() as copies:
        for path in sorted(folder.rglob("*.seg")):
            copy = shutil.copy(path, Path(copies) / path.name)
            segment, _ = Segment.open(Path(copy), first=0, verify=True)
            offset = HEADER_BYTES
            for _ in range(segment.count):
                envelope, value = segment.read(offset)
                found.append(decode(BY_NAME[envelope.topic], value, envelope.headers))
                offset = segment.following(offset)
            segment.close()
    return [message for message in found if isinstance(message, kind)]


def differences(frames: list[Frame], manifests: list[Manifest]) -> list[str]:
    """What the ledger finds where every frame on the topic has its inspection."""
    ledger = Ledger()
    for offset, frame in enumerate({frame.id: frame for frame in frames}.values()):
        inspection = Inspection(
            id=frame.id, station=frame.station, camera=frame.camera, view=frame.view, session=frame.session,
            sequence=frame.sequence, part_id=frame.part_id, visit=1, outcome=FrameOutcome.INSPECTED,
            frame_partition=0, frame_offset=offset,
        )  # fmt: skip
        ledger.add(INSPECTIONS, inspection, partition=0, offset=offset, at_ms=1)
    for offset, manifest in enumerate(manifests):
        ledger.add(MANIFESTS, manifest, partition=0, offset=offset, at_ms=1)
    report = ledger.report(now_ns=10**18, settle_ms=0)
    return [f"{item.kind} {item.subject}: {item.found}" for item in report.differences]


async def test_a_station_gateway_killed_in_an_outage_loses_no_frame_and_the_ledger_balances(
    broker: LocalKafka, tmp_path: Path, own_spool: Path, line: Line
) -> None:
    settings = KafkaSettings()
    plant = floor_plant("killed", plc=line.floor.plc, sources=line.sources, gate_after_ms=GATE_AFTER_MS)
    await make_topics(plant, settings)
    async with gateway_process("station_gateway", plant, folder=tmp_path, environment={}) as process:
        await until(lambda: line.floor.sessions == 1, "the gateway has the PLC")
        await line.arrive("p0")
        await read_until(settings, plant, FRAMES, 2)
        broker.child.kill()
        for number in range(1, 31):
            await line.arrive(f"p{number}", views=VIEWS if number % 10 else ("side",))
        await until(lambda: len(on_disk(own_spool, Frame)) == 57, "the frames are on disk")

        def all_told() -> bool:
            told = on_disk(own_spool, Manifest)
            return all(max((m.last_sequence for m in told if m.camera == view), default=0) == 30 for view in VIEWS)

        await until(all_told, "and what became of those that could not be taken")
        process.send_signal(signal.SIGKILL)
        await process.wait()
    passed_ns = line.floor.programs[STATION].arrivals[-1].at_ns + GATE_AFTER_MS * 1_000_000
    await until(lambda: time.time_ns() > passed_ns, "all parts have passed the gate")
    async with running(station_gateway.run, plant, name="station_gateway", plant_dir=tmp_path, ready=False) as stage:
        await until(lambda: counted(stage, "spool_records") >= 57, "the next life has them")
        await until(lambda: counted(stage, "noticed_total", what="arrival_too_old") == 31, "it has the PLC")
        for number in range(31, 41):
            await line.arrive(f"p{number}")
        await until(lambda: counted(stage, "in_total", topic="arrivals") == 20, "the arrivals are seen")
        await until(lambda: counted(stage, "in_progress") == 0, "their frames are on disk, too")
        await asyncio.to_thread(broker.start)
        await until(lambda: stage.ready and counted(stage, "spool_records") == 0, "everything is sent")
    found = await read_to_end(settings, plant, FRAMES)
    manifests = await read_to_end(settings, plant, MANIFESTS)
    every = {f"p{number}" for number in range(41)}
    for view in VIEWS:
        frames = [frame for frame in found if frame.camera == view]
        assert {frame.part_id for frame in frames} == (every if view == "side" else every - {"p10", "p20", "p30"})
        assert len({frame.session for frame in frames}) == 2
        order = list(dict.fromkeys((frame.session, frame.sequence) for frame in frames))
        assert order == sorted(order), "first appearances are in order"
    told = {manifest.id: manifest for manifest in manifests}.values()
    assert [gone.reason for manifest in told for gone in manifest.dropped] == ["capture_failed"] * 3
    assert differences(found, manifests) == []


async def test_events_of_a_plc_gateway_killed_in_an_outage_arrive_in_order_and_none_is_called_missed(
    broker: LocalKafka, tmp_path: Path, own_spool: Path
) -> None:
    settings = KafkaSettings()
    stations = ("aoi-1", "aoi-2")
    async with Floor(stations=stations) as floor:
        for program in floor.programs.values():
            program.arrivals = deque(maxlen=8)  # so that the PLC cannot tell again what the spool has
        plant = floor_plant("events", plc=floor.plc, stations=stations)
        await make_topics(plant, settings)

        async def arrive(number: int) -> None:
            for station in stations:
                await floor.arrive(f"p{number:02}", station=station)

        def kept(count: int) -> bool:
            # the first arrivals are kept, too, where the broker went before it had acknowledged them
            return len({e.id for e in on_disk(own_spool, PartArrived) if e.part_id != "p00"}) == 2 * count

        async def told() -> bool:
            events = await read_to_end(settings, plant, PLC_EVENTS)
            return sum(isinstance(event, PartArrived) for event in events) == 2

        async with gateway_process("plc_gateway", plant, folder=tmp_path, environment={}) as process:
            await arrive(0)
            await until(told, "the first arrivals are told")
            broker.child.kill()
            for number in range(1, 31):
                await arrive(number)
                if number % 5 == 0:
                    await until(lambda number=number: kept(number), "the events are on disk")
            process.send_signal(signal.SIGKILL)
            await process.wait()
        async with running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path, ready=False) as stage:
            for number in range(31, 35):
                await arrive(number)
            await until(lambda: kept(34), "those of the next life are, too")
            await asyncio.to_thread(broker.start)
            await until(lambda: stage.ready and counted(stage, "spool_records") == 0, "everything is sent")
    events = await read_to_end(settings, plant, PLC_EVENTS)
    for station in stations:
        arrived = [event for event in events if isinstance(event, PartArrived) and event.station == station]
        assert list(dict.fromkeys(event.part_id for event in arrived)) == [f"p{number:02}" for number in range(35)]
        assert len({event.id for event in arrived}) == len(set(map(msgspec.msgpack.encode, arrived))), (
            "under one id they say one thing"
        )
    assert [event for event in events if isinstance(event, PlcFault) and event.code == "arrivals_missed"] == []


def frame(sequence: int) -> Frame:
    content = os.urandom(50_000)
    return Frame(
        id=frame_id(camera="top", session="t", sequence=sequence), station=STATION, camera="top", view="top", session="t",
        sequence=sequence, part_id=str(sequence), visit=1, recipe="board@1", captured_at_ns=1, encoding=ImageEncoding.PNG,
        width_px=1, height_px=1, size_bytes=len(content), sha256="", image=content,
    )  # fmt: skip


def publisher(plant: Plant, stage: Stage) -> RecordPublisher:
    spool = open_spool(plant=plant.plant, stage=stage)
    return RecordPublisher(
        plant=plant.plant, stage=stage, kafka=KafkaSettings(), budget_bytes=64 * MIB_BYTES, spool=spool
    )


async def test_live_frames_go_first_while_a_long_backlog_drains_through_another_outage_and_a_stop(
    broker: LocalKafka, own_spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "IN_FLIGHT_BYTES", 1_000_000)
    monkeypatch.setenv("LINESIGHT_SPOOL_DRAIN_MIB_PER_S", "2")
    settings = KafkaSettings()
    plant = floor_plant("live", sources={"top": ExternalSource()})
    await make_topics(plant, settings)
    broker.child.kill()
    backlog: list[Fate] = []
    live: list[Fate] = []
    stage = Stage("station_gateway")
    async with publisher(plant, stage) as first:

        def drained() -> float:
            return counted(stage, "spool_out_total", topic="frames")

        for sequence in range(200):
            first.submit(FRAMES, "top", frame(sequence), tell=backlog.append, droppable=True)
        await until(lambda: backlog == [Fate.SPOOLED] * 200, "the backlog is on disk")
        await asyncio.to_thread(broker.start)
        await until(lambda: drained() > 5, "it drains")
        first.submit(FRAMES, "top", frame(1000), tell=live.append, droppable=True)
        await until(lambda: live, "the live frame has its fate")
        assert live == [Fate.ACKNOWLEDGED]
        assert drained() < 150, "long before the backlog is through"
        broker.child.kill()
        first.submit(FRAMES, "top", frame(1001), tell=live.append, droppable=True)
        await until(lambda: live[1:] == [Fate.SPOOLED], "the frame of the second outage is on disk")
        await asyncio.to_thread(broker.start)
        before = drained()
        await until(lambda: drained() > before, "it drains again")
    assert len(on_disk(own_spool, Frame)) > 0, "it was stopped in the middle"
    stage = Stage("station_gateway")
    async with publisher(plant, stage):
        await until(lambda: counted(stage, "spool_records") == 0, "the next life sends the rest")
    found = list(dict.fromkeys(frame.sequence for frame in await read_to_end(settings, plant, FRAMES)))
    assert sorted(found) == [*range(200), 1000, 1001]
    assert [sequence for sequence in found if sequence < 200] == list(range(200)), "the backlog is in order"
    assert found.index(1000) < found.index(150)


async def test_a_broker_that_hangs_with_records_on_their_way_costs_a_producer_and_not_the_gateway(
    broker: LocalKafka, own_spool: Path
) -> None:
    settings = KafkaSettings()
    plant = floor_plant("hung", sources={"top": ExternalSource()})
    await make_topics(plant, settings)
    stage = Stage("station_gateway")
    fates: list[Fate] = []
    manifest = Manifest(
        id="m", station=STATION, camera="top", session="t", first_sequence=1, last_sequence=1, made_at_ns=1
    )
    async with publisher(plant, stage) as records:
        records.submit(FRAMES, "top", frame(1), tell=fates.append)
        await until(lambda: fates == [Fate.ACKNOWLEDGED], "the broker takes frames")
        os.kill(broker.child.pid, signal.SIGSTOP)
        try:
            records.submit(FRAMES, "top", frame(2), tell=fates.append)
            records.submit(MANIFESTS, "top", manifest, tell=fates.append)
            # the manifest's topic cannot be looked up: the producer is given up while the frame is on its way
            await until(lambda: counted(stage, "retried_total", reason="broker") > 1, "another is tried")
        finally:
            os.kill(broker.child.pid, signal.SIGCONT)
        failing = asyncio.create_task(records.failed())
        await until(
            lambda: failing.done() or (len(fates) == 3 and counted(stage, "spool_records") == 0), "everything is sent"
        )
        assert not failing.done()
        failing.cancel()
    assert {found.sequence for found in await read_to_end(settings, plant, FRAMES)} == {1, 2}
    assert {found.id for found in await read_to_end(settings, plant, MANIFESTS)} == {"m"}
