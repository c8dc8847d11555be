"""The station gateway against a real PLC server, cameras and a broker: every arrival's pictures, or their absence by name."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
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
    noisy_picture,
    picture,
    running,
)

from gateways import outbox, station_gateway
from ops.local.kafka import LocalKafka
from ops.local.ports import free_ports
from schemas.frames import Frame, Manifest
from schemas.object_store import FolderStore, sha256_hex
from schemas.plant import Camera, FolderSource, HttpSource, KafkaLayout, Plant
from schemas.reasons import DropReason
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES, MANIFESTS
from simulation.cameras import CameraServer


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    return KafkaSettings()


class Line:
    """A floor with two HTTP cameras that expose at every arrival."""

    def __init__(self, floor: Floor, cameras: CameraServer, port: int) -> None:
        self.floor = floor
        self.cameras = cameras
        self.sources = {view: http_source(port, view) for view in VIEWS}

    async def arrive(self, part_id: str, *, views: tuple[str, ...] = VIEWS) -> None:
        """A part comes, and its pictures lie in the cameras."""
        await self.floor.server.arrive(
            STATION,
            part_id=part_id,
            recipe="board@1",
            batch="b",
            before=lambda arrival: self.cameras.expose(
                arrival.trigger_count, {view: picture(arrival.trigger_count) for view in views}, at_ns=time.time_ns()
            ),
        )


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    (port,) = free_ports(1)
    cameras = CameraServer([Camera(name=view, views=(view,), source=http_source(port, view)) for view in VIEWS])
    async with Floor() as floor, cameras:
        yield Line(floor, cameras, port)


async def frames_of(settings: KafkaSettings, plant: Plant, count: int) -> dict[str, list[Frame]]:
    found = await read_until(settings, plant, FRAMES, count)
    return {camera: [frame for frame in found if frame.camera == camera] for camera in plant.cameras}


def told(manifests: list[Manifest], camera: str) -> tuple[list[int], dict[int, str]]:
    """Sequences that the manifests of one camera say were sent, in order, and those dropped with their reason."""
    sent: list[int] = []
    dropped: dict[int, str] = {}
    expected = 0
    for manifest in (found for found in manifests if found.camera == camera):
        assert manifest.first_sequence == expected, "manifests follow each other without gap"
        expected = manifest.last_sequence + 1
        for gone in manifest.dropped:
            dropped |= dict.fromkeys(range(gone.first_sequence, gone.last_sequence + 1), gone.reason)
        sent += [number for number in range(manifest.first_sequence, expected) if number not in dropped]
    return sent, dropped


async def test_every_arrival_gives_a_frame_of_each_view_bound_to_its_part_and_a_true_manifest(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path, line: Line
) -> None:
    plant = floor_plant(unique_prefix, plc=line.floor.plc, sources=line.sources)
    await make_topics(plant, settings)
    async with running(station_gateway.run, plant, name="station_gateway", plant_dir=tmp_path) as stage:
        for number in range(20):
            await line.arrive(f"p{number}")
        frames = await frames_of(settings, plant, 40)
        assert counted(stage, "out_total", topic="frames") == 40
    for view in VIEWS:
        assert [frame.sequence for frame in frames[view]] == list(range(20))
        assert [(frame.part_id, frame.trigger_count) for frame in frames[view]] == [(f"p{n}", n + 1) for n in range(20)]
        assert len({frame.session for frame in frames[view]}) == 1
        frame = frames[view][4]
        assert frame.image == picture(5)
        assert (frame.id, frame.recipe, frame.visit, frame.station) == (
            f"{view}/{frame.session}/4",
            "board@1",
            1,
            STATION,
        )
        assert (frame.encoding, frame.width_px, frame.height_px, frame.channels) == ("png", 32, 24, 1)
        assert (frame.sha256, frame.size_bytes) == (sha256_hex(picture(5)), len(picture(5)))
    manifests = await read_to_end(settings, plant, MANIFESTS)
    for view in VIEWS:
        assert told(manifests, view) == (list(range(20)), {})
        assert [manifest.closing for manifest in manifests if manifest.camera == view][-1]
    assert line.floor.sessions == 0
    assert not line.floor.value("gateway_heartbeat"), "it only reads"


async def test_a_station_that_its_plc_does_not_have_costs_the_others_no_picture(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path, line: Line
) -> None:
    plant = floor_plant(unique_prefix, plc=line.floor.plc, sources=line.sources, stations=(STATION, "aoi-9"))
    await make_topics(plant, settings)
    async with running(station_gateway.run, plant, name="station_gateway", plant_dir=tmp_path) as stage:
        await line.arrive("p1")
        await frames_of(settings, plant, len(VIEWS))
        await until(lambda: counted(stage, "node_fault", station="aoi-9") == 1, "that station's fault is seen")
        assert counted(stage, "node_fault", station=STATION) == 0
        assert stage.ready


async def test_a_picture_that_cannot_be_taken_is_named_in_the_manifest_and_the_others_come(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path, line: Line
) -> None:
    plant = floor_plant(unique_prefix, plc=line.floor.plc, sources=line.sources)
    await make_topics(plant, settings)
    async with running(station_gateway.run, plant, name="station_gateway", plant_dir=tmp_path) as stage:
        await line.arrive("p0")
        await line.arrive("p1", views=("side",))
        await line.arrive("p2")
        frames = await frames_of(settings, plant, 5)
        assert counted(stage, "dropped_total", reason="capture_failed") == 1
    assert [(frame.part_id, frame.sequence) for frame in frames["top"]] == [("p0", 0), ("p2", 2)]
    assert [frame.part_id for frame in frames["side"]] == ["p0", "p1", "p2"]
    manifests = await read_to_end(settings, plant, MANIFESTS)
    assert told(manifests, "top") == ([0, 2], {1: DropReason.CAPTURE_FAILED})
    assert told(manifests, "side") == ([0, 1, 2], {})


async def test_arrivals_during_a_cut_cable_are_captured_once_after_it(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path, line: Line
) -> None:
    plant = floor_plant(unique_prefix, plc=line.floor.plc, sources=line.sources)
    await make_topics(plant, settings)
    async with running(station_gateway.run, plant, name="station_gateway", plant_dir=tmp_path) as stage:
        for number in range(12):
            if number == 4:
                await line.floor.cable.cut()
                await until(lambda: not stage.ready, "the PLC is away")
            await line.arrive(f"p{number}")
            if number == 8:
                await line.floor.cable.plug()
                await until(lambda: stage.ready, "the PLC is back")
        frames = await frames_of(settings, plant, 24)
    for view in VIEWS:
        assert [(frame.part_id, frame.sequence) for frame in frames[view]] == [(f"p{n}", n) for n in range(12)]


async def test_what_a_starved_gateway_sees_late_is_not_photographed(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    """The camera shows what is before it when it is asked, and the part has moved on by then."""
    shown = itertools.count(1)

    async def snapshot(request: web.Request) -> web.Response:
        return web.Response(body=picture(next(shown)))

    application = web.Application()
    application.router.add_get("/now", snapshot)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    source = HttpSource(url=f"http://127.0.0.1:{runner.addresses[0][1]}/now", timeout_ms=60_000, expose_within_ms=2_000)
    async with Floor() as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc, sources={"top": source})
        await make_topics(plant, settings)
        async with running(station_gateway.run, plant, name="station_gateway", plant_dir=tmp_path) as stage:
            # the very first has no other to be measured by: nobody knows whether it is late
            for part_id, starved_s in (("unknown", 2.5), ("prompt", 0), ("late", 3), ("prompt again", 0)):
                pictures = counted(stage, "in_total", topic="arrivals")
                await floor.arrive(part_id)
                time.sleep(starved_s)  # noqa: ASYNC251 - this is the fault: nothing of the gateway runs
                await until(lambda: counted(stage, "in_total", topic="arrivals") > pictures, "the arrival is seen")  # noqa: B023
                await until(lambda: counted(stage, "in_progress") == 0, "its picture has its fate")
        found = await read_to_end(settings, plant, FRAMES)
        manifests = await read_to_end(settings, plant, MANIFESTS)
    await runner.cleanup()
    assert [frame.part_id for frame in found] == ["prompt", "prompt again"]
    assert told(manifests, "top") == ([1, 3], {0: DropReason.EXPIRED, 2: DropReason.EXPIRED})
    assert next(shown) == 3, "the camera was asked twice"


async def test_after_a_kill_a_new_session_begins_and_parts_that_passed_the_gate_are_left_alone(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path, line: Line
) -> None:
    plant = floor_plant(unique_prefix, plc=line.floor.plc, sources=line.sources, gate_after_ms=1000)
    await make_topics(plant, settings)
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "OBJECT_STORE_URL": os.environ["OBJECT_STORE_URL"],
    }
    async with gateway_process("station_gateway", plant, folder=tmp_path, environment=environment) as process:
        await until(lambda: line.floor.sessions == 1, "the gateway has the PLC")
        await line.arrive("before")
        await frames_of(settings, plant, 2)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    arrived_ns = line.floor.programs[STATION].arrivals[-1].at_ns
    await until(lambda: time.time_ns() - arrived_ns > 1_100_000_000, "the part has passed the gate")
    async with running(station_gateway.run, plant, name="station_gateway", plant_dir=tmp_path) as stage:
        await until(lambda: counted(stage, "noticed_total", what="arrival_too_old") == 1, "the old arrival is noticed")
        await line.arrive("after")
        frames = await frames_of(settings, plant, 4)
    for view in VIEWS:
        assert [frame.part_id for frame in frames[view]] == ["before", "after"]
        assert [frame.sequence for frame in frames[view]] == [0, 0]
        first, second = (frame.session for frame in frames[view])
        assert first < second


async def test_large_pictures_go_to_the_object_store_and_a_folder_camera_gives_whole_files_only(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    async with Floor() as floor:
        plant = floor_plant(
            unique_prefix,
            plc=floor.plc,
            sources={"top": FolderSource(path="pictures", timeout_ms=20_000)},
            kafka=KafkaLayout(inline_limit_bytes=100),
        )
        await make_topics(plant, settings)
        folder = tmp_path / "pictures"
        folder.mkdir()
        image = noisy_picture()
        async with running(station_gateway.run, plant, name="station_gateway", plant_dir=tmp_path) as stage:
            await floor.arrive("p0")
            (folder / "1.png").write_bytes(image[: len(image) // 2])
            await until(lambda: counted(stage, "in_total", topic="arrivals") == 1, "the arrival is seen")
            with (folder / "1.png").open("ab") as file:
                file.write(image[len(image) // 2 :])
            (frame,) = (await frames_of(settings, plant, 1))["top"]
    assert frame.image is None
    assert FolderStore(tmp_path / "objects").get(frame.uri or "") == image
    assert frame.sha256 == sha256_hex(image)


async def test_with_broker_and_disk_away_frames_wait_in_memory_and_above_the_budget_the_oldest_are_given_up_by_name(
    mortal_kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch, unique_prefix: str, tmp_path: Path, line: Line
) -> None:
    frame_bytes = len(picture(1)) + 900
    monkeypatch.setattr(station_gateway, "WAITING_FRAMES_BYTES", 30 * frame_bytes)
    monkeypatch.setattr(outbox, "IN_FLIGHT_BYTES", 4 * frame_bytes)
    (tmp_path / "no-folder").touch()
    monkeypatch.setenv("LINESIGHT_SPOOL_DIR", str(tmp_path / "no-folder"))
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", mortal_kafka.bootstrap_servers)
    settings = KafkaSettings()
    plant = floor_plant(unique_prefix, plc=line.floor.plc, sources=line.sources)
    await make_topics(plant, settings)
    async with running(station_gateway.run, plant, name="station_gateway", plant_dir=tmp_path) as stage:
        await line.arrive("p0")
        await frames_of(settings, plant, 2)
        mortal_kafka.child.kill()
        for number in range(1, 41):
            await line.arrive(f"p{number}")
        await until(
            lambda: counted(stage, "dropped_total", reason="broker_away") > 0, "frames are given up, and it says so"
        )
        assert counted(stage, "noticed_total", what="spool_not_written") == 1
        await until(lambda: not stage.ready, "the stage says that the broker is away")
        await asyncio.to_thread(mortal_kafka.start)
        await until(lambda: stage.ready, "the broker is back")
        taken = counted(stage, "in_total", topic="arrivals")
        await line.arrive("p41")
        await until(lambda: counted(stage, "in_total", topic="arrivals") > taken, "the last part is seen")
        await until(lambda: counted(stage, "in_progress") == 0, "every picture has its fate")
    manifests = await read_to_end(settings, plant, MANIFESTS)
    found = await read_to_end(settings, plant, FRAMES)
    for view in VIEWS:
        sent, dropped = told(manifests, view)
        sequences = [frame.sequence for frame in found if frame.camera == view]
        assert sorted(set(sequences)) == sent, "the manifest says what is on the topic"
        assert list(dict.fromkeys(sequences)) == sent, "first appearances are in order"
        assert set(dropped.values()) == {DropReason.BROKER_AWAY}
        assert sorted([*sent, *dropped]) == list(range(42))
        assert 41 in sent
