"""Frames of three sizes through the inspect stage, in frames/s and MB/s of encoded picture, beside what raw aiokafka moves.

Raw aiokafka reads the same pictures, all of them inline, and does nothing with them. Above the plant's inline limit the stage gets the
picture by claim check: the record has an address, the picture lies in the object store (a folder).
"""

from __future__ import annotations

import asyncio
import statistics
import time

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.frames import Picture, as_frames, board_pictures, enlarged, grey_picture, publish
from benchmarks.inspect_worker import work_off
from benchmarks.options import Options
from benchmarks.results_file import Row, Section
from benchmarks.services import Services
from schemas.plant import Plant
from schemas.topics import FRAMES

SIZES_PX = ((640, 640), (1920, 1080), (2448, 2048))
PICTURES = 6
FETCH_BYTES = 8 << 20


def frame_sizes(services: Services, options: Options) -> Section:
    """Each size, `rounds` times."""
    rows: list[Row] = []
    raw = {}
    for width_px, height_px in SIZES_PX:
        size = f"{width_px}x{height_px}"
        plant = services.plants.sized(width_px, height_px)
        view = plant.plant.recipes[0].views[0]
        reference = grey_picture(plant.file.parent / str(view.reference))
        boards = [
            picture
            for picture in board_pictures(services.plants.golden().plant, plant.file.parent)
            if picture.view == view.name
        ]
        pictures = [
            enlarged(picture, width_px=width_px, height_px=height_px, reference=reference)
            for picture in boards[:PICTURES]
        ]
        count = max(40, int(options.frames * 640 * 640 / (width_px * height_px)))
        stage = [work_off(services, plant, pictures, count=count, deal_out=True) for _ in range(options.rounds)]
        moved = [_raw_rate(services, plant.plant, pictures, count=count, number=n) for n in range(options.rounds)]
        mb = statistics.mean(len(picture.jpeg) for picture in pictures) / 1e6
        rate = statistics.median(backlog.frames_per_s for backlog in stage)
        way = "claim check" if mb * 1e6 > plant.plant.kafka.inline_limit_bytes else "inline"
        options.say(f"{size}, {mb:.2f} MB, {way}: {rate:.0f} frames/s")
        raw[size] = {
            "stage": [backlog.as_json() for backlog in stage],
            "aiokafka_frames_per_s": moved,
            "mb": round(mb, 3),
        }
        rows += [
            Row(name=f"inspect, {size} ({mb:.2f} MB, {way})", value=round(rate, 1), unit="frames/s"),
            Row(name=f"inspect, {size}", value=round(rate * mb, 1), unit="MB/s"),
            Row(name=f"raw aiokafka, {size}", value=round(statistics.median(moved) * mb, 1), unit="MB/s"),
        ]
    return Section(rows=rows, raw={"by_size": raw})


def _raw_rate(services: Services, plant: Plant, pictures: list[Picture], *, count: int, number: int) -> float:
    """Frames per s that one aiokafka consumer reads, all inline."""
    inline = msgspec.structs.replace(plant, plant=f"{plant.plant}-raw-{number}")
    services.make_topics(inline)
    frames = as_frames(pictures, count=count, session="raw", inline_limit_bytes=1 << 30, store=services.folder)
    publish(frames, kafka=services.kafka, plant=inline)
    return round(asyncio.run(_read(services, FRAMES.on(inline.plant), inline.kafka.partitions, count)), 1)


async def _read(services: Services, topic: str, partitions: int, count: int) -> float:
    consumer = AIOKafkaConsumer(
        **services.kafka.client(), auto_offset_reset="earliest", max_partition_fetch_bytes=FETCH_BYTES
    )
    await consumer.start()
    try:
        began_s = time.perf_counter()
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        left = count
        while left > 0:
            found = await consumer.getmany(timeout_ms=1000)
            left -= sum(len(records) for records in found.values())
        return count / (time.perf_counter() - began_s)
    finally:
        await consumer.stop()
