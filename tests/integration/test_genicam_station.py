"""A GenICam camera that is not ours at a station with a PLC, whose products come mixed and do not all use it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from broker import read_to_end, until
from genicam_peer import PACKAGES
from peers import require_bindings
from plant_floor import STATION, Floor, counted, floor_plant, make_topics, running
from test_genicam_camera import APART_S, DEVICE, WINDOW_MS, plugged_in

from gateways import station_gateway
from schemas.frames import Frame, Manifest
from schemas.plant import GenicamSource, Plant
from schemas.recipes import View
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES, MANIFESTS

ORDER = ("board@1", "cover@1", "board@1", "cover@1", "cover@1", "board@1", "board@1")
SOURCES = {
    "hardware": GenicamSource(device=DEVICE, pixel_format="Mono8", window_ms=WINDOW_MS, trigger_source="Software"),
    # generous: how quickly a busy machine sees a trigger is not what this test is about
    "software": GenicamSource(
        device=DEVICE, pixel_format="Mono8", trigger="software", timeout_ms=10_000, expose_within_ms=10_000
    ),
}


def two_products(name: str, floor: Floor, trigger: str) -> Plant:
    """`board` is looked at by the camera, `cover` by another one."""
    plant = floor_plant(name, plc=floor.plc, sources={"top": SOURCES[trigger]})
    (board,) = plant.recipes
    cover = msgspec.structs.replace(board, name="cover", views=(View(name="elsewhere"),))
    return msgspec.structs.replace(plant, recipes=(board, cover))


def number_in(frame: Frame) -> int:
    """The frame id as the fake camera draws it: a ramp that begins at it (modulo 255)."""
    assert frame.image is not None
    return int(cv2.imdecode(np.frombuffer(frame.image, np.uint8), cv2.IMREAD_GRAYSCALE)[0, 0])


@pytest.mark.parametrize("trigger", ["hardware", "software"])
async def test_each_part_that_uses_the_camera_has_its_own_picture_whatever_comes_between(
    kafka: str, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trigger: str
) -> None:
    require_bindings(
        "gi.require_version('Aravis', '0.8'); from gi.repository import Aravis",
        what="Aravis's fake camera",
        packages=PACKAGES,
    )
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    settings = KafkaSettings()
    async with Floor() as floor, plugged_in() as wire:
        plant = two_products(unique_prefix, floor, trigger)
        await make_topics(plant, settings)
        async with running(station_gateway.run, plant, name="station_gateway", plant_dir=tmp_path) as stage:

            async def comes(recipe: str) -> None:
                """A part on the belt; a wired camera has its pulse before the PLC has told the part."""
                gone = asyncio.create_task(asyncio.sleep(APART_S))
                await floor.server.arrive(
                    STATION,
                    part_id="",
                    recipe=recipe,
                    batch="b",
                    before=lambda _arrival: wire.says("fire") if trigger == "hardware" else None,
                )
                await gone

            while not counted(stage, "out_total", topic="frames"):
                await comes("board@1")
            first = len(floor.programs[STATION].arrivals)
            for recipe in ORDER:
                await comes(recipe)
            await until(lambda: counted(stage, "in_progress") == 0, "every picture has its fate")
        frames: list[Frame] = await read_to_end(settings, plant, FRAMES)
        manifests: list[Manifest] = await read_to_end(settings, plant, MANIFESTS)
    shown = {frame.trigger_count: number_in(frame) for frame in frames if frame.trigger_count is not None}
    after = [first + 1 + place for place, recipe in enumerate(ORDER) if recipe == "board@1"]
    assert [count for count in shown if count > first] == after
    steps = [(shown[count] - shown[first]) % 255 for count in after]
    assert steps == ([count - first for count in after] if trigger == "hardware" else list(range(1, len(after) + 1)))
    assert not [dropped for manifest in manifests for dropped in manifest.dropped if dropped.first_sequence >= first]
