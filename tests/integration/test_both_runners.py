"""The contract that both runners keep on a real broker: nothing is lost, skipped, or committed before it is finished, whatever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from broker import committed, publish, publish_raw, read_to_end, read_until, until
from echo_stage import STATIONS, Echo, plant_named, review, reviews, running, value

from ops.local.kafka import LocalKafka
from schemas.codec import encode
from schemas.errors import StageFailed
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT, DEAD_LETTERS, REVIEWS
from topologies.records import Record
from topologies.topic_admin import ensure_topics

pytestmark = pytest.mark.parametrize("name", ["judge", "alerts"], ids=["line runner", "event runner"])


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


async def test_every_record_is_answered_in_the_order_of_its_key_and_committed(
    name: str, settings: KafkaSettings, plant: Plant
) -> None:
    await publish(settings, plant, REVIEWS, reviews(50))
    handler = Echo(wait=lambda review: asyncio.sleep(0.001 * (review.reviewed_at_ns % 5)))
    async with running(name, handler, plant, settings) as stage:
        await until(lambda: value(stage, "in_total", topic="reviews") == 600, "all records are taken")
        await until(lambda: value(stage, "in_progress") == 0, "all records are finished")
        await until(lambda: stage.ready, "the stage is ready")
    assert Counter(event.id for event in await read_to_end(settings, plant, AUDIT)) == Counter(
        message.id for _, message in reviews(50)
    )
    for station in STATIONS:
        numbers = [int(taken.split("/")[1]) for taken in handler.taken if taken.startswith(f"{station}/")]
        assert numbers == list(range(50))
    assert await committed(settings, f"{plant.plant}.{name}") == 600
    assert value(stage, "in_progress_bytes") == 0
    assert not stage.ready


async def test_what_cannot_be_decoded_becomes_a_dead_letter_with_its_bytes_and_disturbs_nothing(
    name: str, settings: KafkaSettings, plant: Plant
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
    await publish_raw(settings, plant, REVIEWS, [*bad.values(), ("s", good.value, good.headers), ("s", None, schema)])
    async with running(name, Echo(), plant, settings) as stage:
        await until(lambda: value(stage, "in_total", topic="reviews") == 7, "all records are taken")
        await until(lambda: value(stage, "in_progress") == 0, "all records are finished")
        counted = {reason: value(stage, "dropped_total", reason=reason) for reason in bad}
    assert counted == {reason: 2 if reason == "truncated" else 1 for reason in bad}
    letters = {letter.reason: letter for letter in await read_to_end(settings, plant, DEAD_LETTERS) if letter.value}
    assert set(letters) == set(bad)
    for reason, (key, body, headers) in bad.items():
        assert (letters[reason].key, letters[reason].value) == (key.encode(), body)
        assert list(letters[reason].headers) == headers
        assert (letters[reason].topic, letters[reason].stage) == ("reviews", name)
        assert letters[reason].detail
    answers = [event.id for event in await read_to_end(settings, plant, AUDIT)]
    assert sorted(answers) == sorted(["s/1", "refused/truncated", *(f"refused/{reason}" for reason in bad)])
    assert await committed(settings, f"{plant.plant}.{name}") == 7


async def test_work_that_is_not_finished_is_not_committed(name: str, settings: KafkaSettings, plant: Plant) -> None:
    await publish(settings, plant, REVIEWS, [("s", review("s", number)) for number in range(10)])
    held = asyncio.Event()
    handler = Echo(wait=lambda review: held.wait() if review.reviewed_at_ns == 4 else asyncio.sleep(0))

    async def four_committed() -> bool:
        return await committed(settings, f"{plant.plant}.{name}") == 4

    ticks = {"judge": 50, "alerts": 8}[name]  # of several commit intervals
    async with running(name, handler, plant, settings) as stage:
        await until(lambda: value(stage, "in_progress") == 1 and len(handler.taken) == 10, "all but one are finished")
        await until(four_committed, "the finished prefix is committed")
        seen = handler.ticks
        await until(lambda: handler.ticks > seen + ticks, "several commit intervals pass")
        assert await committed(settings, f"{plant.plant}.{name}") == 4
        held.set()
    assert await committed(settings, f"{plant.plant}.{name}") == 10


async def test_an_error_in_the_handler_ends_the_process_and_skips_nothing(
    name: str, settings: KafkaSettings, plant: Plant
) -> None:
    await publish(settings, plant, REVIEWS, [("s", review("s", number)) for number in range(10)])

    class Broken(Echo):
        async def take(self, record: Record) -> None:
            if record.message.reviewed_at_ns == 5:
                raise KeyError("a defect of the program")
            await super().take(record)

    where = {"judge": r"reviews/\d/5.*", "alerts": ""}[name]
    with pytest.raises(StageFailed, match=f"{where}a defect of the program"):
        async with running(name, Broken(), plant, settings):
            await asyncio.sleep(30)
    assert await committed(settings, f"{plant.plant}.{name}") <= 5
    async with running(name, Echo(), plant, settings):
        await read_until(settings, plant, AUDIT, 10)
    assert {event.id for event in await read_to_end(settings, plant, AUDIT)} == {f"s/{number}" for number in range(10)}


async def test_a_runner_that_is_killed_midway_loses_nothing(name: str, settings: KafkaSettings, plant: Plant) -> None:
    await publish(settings, plant, REVIEWS, reviews(200))

    async def start() -> asyncio.subprocess.Process:
        root = Path(__file__).parents[2]
        return await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("echo_stage.py")), name, settings.bootstrap_servers, plant.plant,
            env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip

    for share in (300, 900, 1600):
        process = await start()
        await read_until(settings, plant, AUDIT, share)
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def all_committed() -> bool:
        return await committed(settings, f"{plant.plant}.{name}") == 2400

    async with running(name, Echo(), plant, settings) as stage:
        await until(all_committed, "all records are committed")
        assert value(stage, "in_progress") == 0
    answered = {event.id for event in await read_to_end(settings, plant, AUDIT)}
    assert answered == {message.id for _, message in reviews(200)}


async def test_a_broker_that_dies_and_returns_costs_nothing_but_time(
    name: str, mortal_kafka: LocalKafka, unique_prefix: str
) -> None:
    settings = KafkaSettings(bootstrap_servers=mortal_kafka.bootstrap_servers)
    plant = plant_named(unique_prefix)
    await ensure_topics(plant, kafka=settings, topics=(REVIEWS, AUDIT, DEAD_LETTERS))
    await publish(settings, plant, REVIEWS, reviews(20))
    go_on = asyncio.Event()
    handler = Echo(wait=lambda review: asyncio.sleep(0) if review.reviewed_at_ns < 10 else go_on.wait())
    async with running(name, handler, plant, settings) as stage:
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
    assert await committed(settings, f"{plant.plant}.{name}") == 480
