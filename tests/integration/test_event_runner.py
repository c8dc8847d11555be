"""The event runner on a real broker: Faust loses nothing, skips nothing and commits nothing that is unfinished."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher
from broker import committed, publish, publish_raw, read_to_end, read_until, until
from echo_stage import Echo, plant_named, review

from ops.local.kafka import LocalKafka
from schemas.codec import encode
from schemas.errors import ConfigurationError, StageFailed
from schemas.plant import Plant
from schemas.records import Review
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import AUDIT, DEAD_LETTERS, REVIEWS
from topologies.event_runner import GATHER_MS, EventRunner
from topologies.membership import GATHER_BYTES
from topologies.records import Record
from topologies.topic_admin import ensure_topics

STATIONS = [f"station-{number}" for number in range(12)]


def reviews(count: int, *, first: int = 0) -> list[tuple[str, Review]]:
    return [(station, review(station, number)) for number in range(first, first + count) for station in STATIONS]


@pytest.fixture(autouse=True)
def _run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINESIGHT_RUN_DIR", str(tmp_path))


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka)


@pytest.fixture
async def plant(settings: KafkaSettings, unique_prefix: str) -> Plant:
    plant = plant_named(unique_prefix)
    await ensure_topics(plant, kafka=settings, topics=(REVIEWS, AUDIT, DEAD_LETTERS))
    return plant


@asynccontextmanager
async def running(handler: Any, plant: Plant, settings: KafkaSettings) -> AsyncIterator[Stage]:
    """The runner, until the block ends; then it is stopped and must have drained in time. A runner that fails ends the block."""
    stop, stage = asyncio.Event(), Stage("alerts")
    runner = EventRunner(plant=plant, stage=stage, topics=(REVIEWS,), handler=handler, kafka=settings)
    block = asyncio.current_task()
    assert block is not None
    task = asyncio.create_task(runner.run(stop))
    task.add_done_callback(lambda done: None if stop.is_set() else block.cancel())
    try:
        yield stage
    except asyncio.CancelledError:
        if task.done():
            block.uncancel()
            task.result()
        raise
    finally:
        stop.set()
        await asyncio.wait_for(task, 12)


def _places(fetcher: Fetcher) -> Any:
    assignment = fetcher._subscriptions.subscription
    return assignment.assignment.tps if assignment and assignment.assignment else ()


def value(stage: Stage, name: str, **labels: str) -> float:
    return stage.registry.get_sample_value(f"linesight_{stage.name}_{name}", labels) or 0.0


async def test_every_record_is_answered_in_the_order_of_its_key_and_committed(
    settings: KafkaSettings, plant: Plant
) -> None:
    await publish(settings, plant, REVIEWS, reviews(50))
    handler = Echo(wait=lambda review: asyncio.sleep(0.001 * (review.reviewed_at_ns % 5)))
    async with running(handler, plant, settings) as stage:
        await until(lambda: value(stage, "in_total", topic="reviews") == 600, "all records are taken")
        await until(lambda: value(stage, "in_progress") == 0, "all records are finished")
        await until(lambda: stage.ready, "the stage is ready")
    assert Counter(event.id for event in await read_to_end(settings, plant, AUDIT)) == Counter(
        message.id for _, message in reviews(50)
    )
    for station in STATIONS:
        numbers = [int(taken.split("/")[1]) for taken in handler.taken if taken.startswith(f"{station}/")]
        assert numbers == list(range(50))
    assert await committed(settings, f"{plant.plant}.alerts") == 600
    assert value(stage, "in_progress_bytes") == 0
    assert not stage.ready


async def test_the_broker_answers_in_larger_pieces_for_nobody_waits_for_these_stages(
    settings: KafkaSettings, plant: Plant
) -> None:
    async with running(Echo(), plant, settings) as stage:
        await until(lambda: stage.ready, "the stage is ready")
        asked = [
            (fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms)
            for fetcher in gc.get_objects()
            if type(fetcher) is Fetcher and any(place.topic == REVIEWS.on(plant.plant) for place in _places(fetcher))
        ]
    assert asked == [(GATHER_BYTES, GATHER_MS)]


async def test_what_cannot_be_decoded_becomes_a_dead_letter_with_its_bytes_and_disturbs_nothing(
    settings: KafkaSettings, plant: Plant
) -> None:
    good = encode(REVIEWS, review("s", 1))
    schema = [("schema", b"Review/1"), ("trace", b"\xff")]
    bad = {
        "unknown_schema": ("s", good.value, [("schema", b"Nonsense/1")]),
        "unknown_version": ("s", good.value, [("schema", b"Review/99")]),
        "truncated": ("s", good.value[:-5], schema),
        "wrong_type": ("s", b"\x81\xa2id\x01", schema),
        "missing_field": ("s", b"\x81\xa2id\xa1x", schema),
    }
    await publish_raw(settings, plant, REVIEWS, [*bad.values(), ("s", good.value, good.headers)])
    async with running(Echo(), plant, settings) as stage:
        await until(lambda: value(stage, "in_total", topic="reviews") == 6, "all records are taken")
        await until(lambda: value(stage, "in_progress") == 0, "all records are finished")
        assert {reason: value(stage, "dropped_total", reason=reason) for reason in bad} == dict.fromkeys(bad, 1)
    letters = {letter.reason: letter for letter in await read_to_end(settings, plant, DEAD_LETTERS)}
    assert set(letters) == set(bad)
    for reason, (key, body, headers) in bad.items():
        assert (letters[reason].key, letters[reason].value) == (key.encode(), body)
        assert list(letters[reason].headers) == headers
    answers = {event.id for event in await read_to_end(settings, plant, AUDIT)}
    assert answers == {"s/1", *(f"refused/{reason}" for reason in bad)}
    assert await committed(settings, f"{plant.plant}.alerts") == 6


async def test_work_that_is_not_finished_is_not_committed(settings: KafkaSettings, plant: Plant) -> None:
    await publish(settings, plant, REVIEWS, [("s", review("s", number)) for number in range(10)])
    held = asyncio.Event()
    handler = Echo(wait=lambda review: held.wait() if review.reviewed_at_ns == 4 else asyncio.sleep(0))

    async def four_committed() -> bool:
        return await committed(settings, f"{plant.plant}.alerts") == 4

    async with running(handler, plant, settings) as stage:
        await until(lambda: value(stage, "in_progress") == 1 and len(handler.taken) == 10, "all but one are finished")
        await until(four_committed, "the finished prefix is committed")
        seen = handler.ticks
        await until(lambda: handler.ticks > seen + 8, "several commit intervals pass")
        assert await committed(settings, f"{plant.plant}.alerts") == 4
        held.set()
    assert await committed(settings, f"{plant.plant}.alerts") == 10


async def test_an_error_in_the_handler_ends_the_process_and_skips_nothing(
    settings: KafkaSettings, plant: Plant
) -> None:
    await publish(settings, plant, REVIEWS, [("s", review("s", number)) for number in range(10)])

    class Broken(Echo):
        async def take(self, record: Record) -> None:
            if record.message.reviewed_at_ns == 5:
                raise KeyError("a defect of the program")
            await super().take(record)

    with pytest.raises(StageFailed, match="a defect of the program"):
        async with running(Broken(), plant, settings):
            await asyncio.sleep(30)
    assert await committed(settings, f"{plant.plant}.alerts") <= 5
    async with running(Echo(), plant, settings):
        await read_until(settings, plant, AUDIT, 10)
    assert {event.id for event in await read_to_end(settings, plant, AUDIT)} == {f"s/{number}" for number in range(10)}


async def test_a_missing_topic_is_said_at_the_start_and_not_passed_over(settings: KafkaSettings) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.reviews; create them with"):
        async with running(Echo(), plant_named("nowhere"), settings):
            await asyncio.sleep(30)


async def test_a_runner_that_is_killed_midway_loses_nothing(
    settings: KafkaSettings, plant: Plant, tmp_path: Path
) -> None:
    await publish(settings, plant, REVIEWS, reviews(200))

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("event_echo_stage.py")), settings.bootstrap_servers, plant.plant,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip

    for share in (300, 900, 1600):
        process = await start()
        await read_until(settings, plant, AUDIT, share)
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def all_committed() -> bool:
        return await committed(settings, f"{plant.plant}.alerts") == 2400

    async with running(Echo(), plant, settings) as stage:
        await until(all_committed, "all records are committed")
        assert value(stage, "in_progress") == 0
    answered = {event.id for event in await read_to_end(settings, plant, AUDIT)}
    assert answered == {message.id for _, message in reviews(200)}


async def test_a_second_worker_takes_a_share_and_gives_it_back_without_a_record_lost(
    settings: KafkaSettings, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Echo(), Echo()
    async with running(first, plant, settings):
        await until(lambda: first.assignments == [frozenset(range(4))], "the first worker has everything")
        await publish(settings, plant, REVIEWS, reviews(20))
        monkeypatch.setenv("LINESIGHT_INSTANCE", "1")
        async with running(second, plant, settings):
            await until(lambda: any(second.assignments), "the second worker has its share", within_s=60)
            await publish(settings, plant, REVIEWS, reviews(20, first=20))
            await until(lambda: len({*first.taken, *second.taken}) >= 480, "all records are taken")
            assert not first.assignments[-1] & second.assignments[-1]
            assert first.assignments[-1] | second.assignments[-1] == frozenset(range(4))
        await publish(settings, plant, REVIEWS, reviews(20, first=40))
        await until(lambda: len({*first.taken, *second.taken}) >= 720, "all records are taken", within_s=90)
    assert second.taken


async def test_a_broker_that_dies_and_returns_costs_nothing_but_time(
    mortal_kafka: LocalKafka, unique_prefix: str
) -> None:
    settings = KafkaSettings(bootstrap_servers=mortal_kafka.bootstrap_servers)
    plant = plant_named(unique_prefix)
    await ensure_topics(plant, kafka=settings, topics=(REVIEWS, AUDIT, DEAD_LETTERS))
    await publish(settings, plant, REVIEWS, reviews(20))
    go_on = asyncio.Event()
    handler = Echo(wait=lambda review: asyncio.sleep(0) if review.reviewed_at_ns < 10 else go_on.wait())
    async with running(handler, plant, settings) as stage:
        await until(lambda: len(handler.taken) == 240, "all are taken")
        mortal_kafka.child.kill()
        go_on.set()  # answers that cannot be sent now
        await until(lambda: value(stage, "retried_total", reason="broker") >= 3, "it says that the broker is away")
        await until(lambda: not stage.ready, "it is not ready")
        await asyncio.to_thread(mortal_kafka.start)
        await until(lambda: stage.ready, "the stage is ready again")
        await publish(settings, plant, REVIEWS, reviews(20, first=20))
        await until(lambda: value(stage, "in_progress") == 0 and len({*handler.taken}) >= 480, "all are finished")
    answers = {event.id for event in await read_to_end(settings, plant, AUDIT)}
    assert answers == {message.id for _, message in reviews(40)}
    assert await committed(settings, f"{plant.plant}.alerts") == 480
