"""Damaged records amid good frames on a live topic: each ends under its reason, and every good frame is inspected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from board_frames import PLANT_DIR, demo_plant, frame, pictures
from broker import read_to_end, until
from kafka import KafkaProducer

from schemas.codec import encode
from schemas.plant import Plant
from schemas.reasons import FrameOutcome, RefusalReason
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import DEAD_LETTERS, FRAMES, INSPECTIONS
from simulation.bad_records import SESSION, bad_records
from topologies.inspect_stage import run
from topologies.topic_admin import ensure_topics

SEED = 7
BAD_PER_GOOD = 10
DONE_WITHIN_S = 240.0

Record = tuple[bytes | None, list[tuple[str, bytes]]]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def settings(kafka: str, triton: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    """The stage finds its services in the environment, as in a plant."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("TRITON_URL", triton)
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    return KafkaSettings(bootstrap_servers=kafka)


def publish_foreign(settings: KafkaSettings, plant: Plant, records: list[Record]) -> None:
    """By a client that takes any header name."""
    producer = KafkaProducer(**settings.client(), acks="all", max_request_size=6 << 20)
    for value, headers in records:
        producer.send(FRAMES.on(plant.plant), key=b"left", value=value, headers=headers)
    producer.flush(DONE_WITHIN_S)
    producer.close()


@asynccontextmanager
async def inspecting(plant: Plant) -> AsyncIterator[tuple[Stage, asyncio.Task[None]]]:
    stop, stage = asyncio.Event(), Stage("inspect")
    task = asyncio.create_task(run(plant, plant_dir=PLANT_DIR, stage=stage, stop=stop))
    try:
        yield stage, task
    finally:
        stop.set()
        await asyncio.wait_for(task, 12)


@pytest.mark.parametrize("count", [2_000, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_every_damaged_record_ends_under_its_reason_and_every_good_frame_is_inspected(
    count: int, settings: KafkaSettings, unique_prefix: str
) -> None:
    plant = demo_plant(unique_prefix)
    await ensure_topics(plant, kafka=settings, topics=(FRAMES, INSPECTIONS, DEAD_LETTERS))
    image = pictures(plant, seed=1).jpegs["left"]
    good = [frame(image, sequence=number) for number in range(count // BAD_PER_GOOD)]
    records: list[Record] = []
    for number, bad in enumerate(bad_records(good[0], count=count, seed=SEED)):
        if number % BAD_PER_GOOD == 0:
            encoded = encode(FRAMES, good[number // BAD_PER_GOOD])
            records.append((encoded.value, encoded.headers))
        records.append((bad.value, bad.headers))

    def finished(stage: Stage, *tasks: asyncio.Task[None]) -> bool:
        for task in tasks:
            if task.done():
                task.result()
        taken = stage.registry.get_sample_value("linesight_inspect_in_total", {"topic": FRAMES.name})
        return taken == len(records) and stage.registry.get_sample_value("linesight_inspect_in_progress") == 0

    async with inspecting(plant) as (stage, task):
        sending = asyncio.create_task(asyncio.to_thread(publish_foreign, settings, plant, records))
        await until(lambda: finished(stage, task, sending), "every record is finished", within_s=DONE_WITHIN_S)
        await sending

    inspections = await read_to_end(settings, plant, INSPECTIONS)
    letters = await read_to_end(settings, plant, DEAD_LETTERS)
    assert {letter.reason for letter in letters} <= set(RefusalReason)
    refused = {(letter.partition, letter.offset) for letter in letters}
    inspected = {
        (each.frame_partition, each.frame_offset) for each in inspections if each.outcome is FrameOutcome.INSPECTED
    }
    assert len(refused) == len(letters)
    assert not refused & inspected
    # a frame whose damage gave it the id of another one is a duplicate of that
    duplicates = stage.registry.get_sample_value("linesight_inspect_noticed_total", {"what": "duplicate"}) or 0
    assert len(refused) + len(inspected) + duplicates == len(records)

    outcomes = {each.id: each.outcome for each in inspections if each.session != SESSION}
    assert [outcomes[each.id] for each in good] == [FrameOutcome.INSPECTED] * len(good)
