"""A line that outran inference, on a real broker and a real Triton: the newest keep their deadline, or all are inspected for the record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from board_frames import PLANT_DIR, demo_plant, frame, pictures
from broker import committed, publish, read_to_end, read_until, until
from judged_parts import arrival, deferral, inspection

from processors.ledger_findings import LedgerReport
from schemas.inspections import Inspection
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.reasons import FrameOutcome, VerdictReason, VerdictValue
from schemas.recipes import Overload
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import COMMANDS, FRAMES, INSPECTIONS, PLC_EVENTS, VERDICTS, Topic
from topologies import backfill_stage, inspect_stage, judge_stage, live_group
from topologies.live_group import BEHIND_MS, LiveGroup
from topologies.reconciliation import ledger_of
from topologies.topic_admin import ensure_topics

DEADLINE_MS = 12_000
"""A quarter of it is what new frames have until they begin, on a machine that may be busy."""
CAMERAS = ("left", "middle")
LATE = 15  # of each camera
UNREADABLE = 7
RUNS = {"inspect": inspect_stage.run, "backfill": backfill_stage.run, "judge": judge_stage.run}


@pytest.fixture
def settings(kafka: str, triton: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("TRITON_URL", triton)
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    return KafkaSettings()


async def overloaded(settings: KafkaSettings, name: str, overload: Overload) -> Plant:
    """A plant on whose topics parts and their frames have waited for longer than their deadline, when they passed the gate:
    nobody was there."""
    plant = demo_plant(name)
    recipe = msgspec.structs.replace(plant.recipes[0], overload=overload, deadline_ms=DEADLINE_MS)
    station = msgspec.structs.replace(plant.lines[0].stations[0], gate_after_ms=DEADLINE_MS)
    line = msgspec.structs.replace(plant.lines[0], stations=(station,))
    plant = msgspec.structs.replace(plant, recipes=(recipe,), lines=(line,))
    await ensure_topics(plant, kafka=settings)
    await publish_parts(settings, plant, range(LATE))
    last_ns = time.time_ns()
    await until(lambda: time.time_ns() > last_ns + DEADLINE_MS * NS_PER_MS, "every deadline has passed")
    return plant


async def publish_parts(settings: KafkaSettings, plant: Plant, numbers: Sequence[int]) -> None:
    """Each camera looks at parts of its own: one view a part."""
    jpegs = pictures(plant, seed=1).jpegs
    parts = [(number, camera, f"{camera}-{number}") for number in numbers for camera in CAMERAS]
    arrivals = [arrival(part_id, views=(camera,)) for _, camera, part_id in parts]
    frames = [
        frame(
            b"\xff\xd8\xff\xe0 no picture" if number == UNREADABLE else jpegs[camera],
            camera=camera,
            sequence=number,
            part_id=part_id,
        )
        for number, camera, part_id in parts
    ]
    await publish(settings, plant, PLC_EVENTS, [(each.station, each) for each in arrivals])
    await publish(settings, plant, FRAMES, [(each.camera, each) for each in frames])


@asynccontextmanager
async def running(plant: Plant, *names: str) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        for name in names:
            stage = Stage(name)
            task = asyncio.create_task(RUNS[name](plant, plant_dir=PLANT_DIR, stage=stage, stop=stop))
            stack.push_async_callback(asyncio.wait_for, task, 30)
            await until(lambda stage=stage: stage.ready, f"{name} is ready")  # type: ignore[misc]
        stack.callback(stop.set)
        yield


def sequences(found: Sequence[Inspection], camera: str) -> list[int]:
    return [each.sequence for each in found if each.camera == camera]


async def settled_ledger(settings: KafkaSettings, plant: Plant) -> LedgerReport:
    return await ledger_of(plant, kafka=settings, settle_ms=0)


def of_frames(report: LedgerReport) -> list[str]:
    """What does not add up about frames; nobody plays the PLC here."""
    return [each.kind for each in report.differences if each.kind.startswith("frame")]


async def test_newest_first_keeps_the_deadline_of_new_frames_and_inspects_the_late_ones_later(
    settings: KafkaSettings, unique_prefix: str
) -> None:
    plant = await overloaded(settings, unique_prefix, "newest_first")
    late, new = LATE * len(CAMERAS), 5 * len(CAMERAS)
    async with running(plant, "judge", "inspect"):
        deferrals: list[Inspection] = await read_until(settings, plant, INSPECTIONS, late)
        assert all(each.is_deferral for each in deferrals)
        await publish_parts(settings, plant, range(LATE, LATE + 5))
        found: list[Inspection] = await read_until(settings, plant, INSPECTIONS, late + new)
        assert [each.reason for each in found if each.sequence >= LATE] == [None] * new
        await until(lambda: _committed(settings, plant, late + new), "the live group has committed everything")
        before = await settled_ledger(settings, plant)
        assert before.dropped == {"deferred": late}
        assert not of_frames(before)

        async with running(plant, "backfill"):
            found = await read_until(settings, plant, INSPECTIONS, 2 * late + new)
            await until(lambda: _committed(settings, plant, 2 * late + new, "backfill"), "the backfill has committed")
        await until(lambda: _committed(settings, plant, 2 * late + new, "judge", INSPECTIONS), "the judge has read all")

    backfilled = [each for each in found if each.was_deferred]
    for camera in CAMERAS:
        assert sequences(deferrals, camera) == list(range(LATE))
        assert sequences(backfilled, camera) == list(range(LATE))
        live = [each for each in found if not each.is_deferral and not each.was_deferred]
        assert sequences(live, camera) == list(range(LATE, LATE + 5))
    assert {each.id: each.reason for each in backfilled if each.reason is not None} == {
        f"{camera}/s1/{UNREADABLE}": "undecodable_image" for camera in CAMERAS
    }
    report = await settled_ledger(settings, plant)
    assert not of_frames(report)
    assert not report.open
    assert report.counts["frames_inspected"] == late + new - len(CAMERAS)
    assert report.dropped == {"undecodable_image": len(CAMERAS)}

    verdicts = await read_to_end(settings, plant, VERDICTS)
    assert len(verdicts) == len({each.part_id for each in verdicts}) == late + new
    in_time = {each.part_id for each in verdicts if each.verdict is not VerdictValue.NOT_DECIDABLE}
    assert in_time == {f"{camera}-{number}" for camera in CAMERAS for number in range(LATE, LATE + 5)}
    assert {each.part_id for each in await read_to_end(settings, plant, COMMANDS)} == in_time


async def test_inspect_all_inspects_late_frames_too_and_commands_nothing(
    settings: KafkaSettings, unique_prefix: str
) -> None:
    plant = await overloaded(settings, unique_prefix, "inspect_all")
    late = LATE * len(CAMERAS)
    async with running(plant, "judge", "inspect"):
        found: list[Inspection] = await read_until(settings, plant, INSPECTIONS, late)
        verdicts: list[Any] = await read_until(settings, plant, VERDICTS, late)
        await until(lambda: _committed(settings, plant, late, "judge", INSPECTIONS), "the judge has read all")
    assert {each.sequence for each in found if each.outcome is FrameOutcome.DROPPED} == {UNREADABLE}
    for camera in CAMERAS:
        assert sequences(found, camera) == list(range(LATE))
    assert {each.verdict for each in verdicts} == {VerdictValue.NOT_DECIDABLE}
    assert all(VerdictReason.DEADLINE in each.reasons for each in verdicts)
    assert await read_to_end(settings, plant, COMMANDS) == []
    assert not of_frames(await settled_ledger(settings, plant))


async def test_a_deferred_frame_that_is_gone_ends_as_expired_and_holds_up_nobody(
    settings: KafkaSettings, unique_prefix: str
) -> None:
    plant = demo_plant(unique_prefix)
    await ensure_topics(plant, kafka=settings)
    gone = deferral(inspection("left", sequence=41))  # names an offset that `frames` does not have
    unplaced = msgspec.structs.replace(deferral(inspection("left", sequence=42)), frame_partition=99)
    await publish(settings, plant, INSPECTIONS, [(each.station, each) for each in (gone, unplaced, gone)])
    async with running(plant, "backfill"):
        found: list[Inspection] = await read_until(settings, plant, INSPECTIONS, 5)
        await until(lambda: _committed(settings, plant, 5, "backfill"), "the backfill has committed")
    assert [(each.id, each.outcome, each.reason, each.was_deferred) for each in found[3:]] == [
        (f"aoi-1-left/g1/{number}", FrameOutcome.DROPPED, "expired", True) for number in (41, 42)
    ]


async def test_a_live_group_that_is_behind_is_waited_for_until_it_has_committed(
    settings: KafkaSettings, unique_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_group, "LONGEST_WAIT_S", 600.0)  # else it ends by itself
    plant = demo_plant(unique_prefix)
    await ensure_topics(plant, kafka=settings)
    content = pictures(plant, seed=1).jpegs["left"]
    await publish(settings, plant, FRAMES, [("left", frame(content, sequence=0))])
    published_ns = time.time_ns()
    await until(lambda: time.time_ns() > published_ns + BEHIND_MS * NS_PER_MS, "the frame has waited")
    async with LiveGroup(plant=plant.plant, kafka=settings, say=print) as live:
        waiting = asyncio.create_task(live.wait_until_it_keeps_up())
        await until(lambda: live.looks > 1, "it has been asked twice")
        assert not waiting.done()
        async with AIOKafkaConsumer(**settings.client(), group_id=f"{plant.plant}.inspect") as consumer:
            places = [TopicPartition(FRAMES.on(plant.plant), number) for number in range(plant.kafka.partitions)]
            consumer.assign(places)
            await consumer.commit(await consumer.end_offsets(places))
        await asyncio.wait_for(waiting, 60)


async def _committed(
    settings: KafkaSettings, plant: Plant, count: int, group: str = "inspect", topic: Topic | None = None
) -> bool:
    name = topic.on(plant.plant) if topic is not None else None
    return await committed(settings, f"{plant.plant}.{group}", topic=name) == count
