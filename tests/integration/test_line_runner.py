"""The line runner on a real broker: nothing is lost, whatever dies, and nothing is held without bound."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from broker import committed, publish, publish_raw, read_to_end, read_until, until
from echo_stage import Echo, plant_named, review, runner_of

from ops.local.kafka import LocalKafka
from schemas.codec import encode
from schemas.errors import StageFailed
from schemas.plant import Plant
from schemas.records import Review
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import AUDIT, DEAD_LETTERS, REVIEWS
from topologies import line_runner
from topologies.holdings import COPIES
from topologies.line_runner import Record
from topologies.membership import FETCH_MAX_BYTES
from topologies.topic_admin import ensure_topics

STATIONS = [f"station-{number}" for number in range(12)]
MIB = 1 << 20


def reviews(count: int, *, first: int = 0) -> list[tuple[str, Review]]:
    return [(station, review(station, number)) for number in range(first, first + count) for station in STATIONS]


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka)


@pytest.fixture
async def plant(settings: KafkaSettings, unique_prefix: str) -> Plant:
    plant = plant_named(unique_prefix)
    await ensure_topics(plant, kafka=settings, topics=(REVIEWS, AUDIT, DEAD_LETTERS))
    return plant


@asynccontextmanager
async def running(handler: Any, plant: Plant, settings: KafkaSettings, **options: Any) -> AsyncIterator[Stage]:
    """The runner, until the block ends; then it is stopped and must have drained in time."""
    stop, stage = asyncio.Event(), Stage("judge")
    task = asyncio.create_task(runner_of(handler, plant, settings, stage, **options).run(stop))
    try:
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(task, 12)


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
        assert stage.ready
    answers = Counter(event.id for event in await read_to_end(settings, plant, AUDIT))
    assert answers == Counter(message.id for _, message in reviews(50))
    for station in STATIONS:
        numbers = [int(taken.split("/")[1]) for taken in handler.taken if taken.startswith(f"{station}/")]
        assert numbers == list(range(50))
    assert await committed(settings, f"{plant.plant}.judge") == 600
    assert value(stage, "in_progress_bytes") == 0
    assert not stage.ready


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
    await publish_raw(settings, plant, REVIEWS, [*bad.values(), ("s", good.value, good.headers), ("s", None, schema)])
    async with running(Echo(), plant, settings) as stage:
        await until(lambda: value(stage, "in_total", topic="reviews") == 7, "all records are taken")
        await until(lambda: value(stage, "in_progress") == 0, "all records are finished")
        counted = {reason: value(stage, "dropped_total", reason=reason) for reason in bad}
    assert counted == {reason: 2 if reason == "truncated" else 1 for reason in bad}
    letters = {letter.reason: letter for letter in await read_to_end(settings, plant, DEAD_LETTERS) if letter.value}
    assert set(letters) == set(bad)
    for reason, (key, body, headers) in bad.items():
        assert (letters[reason].key, letters[reason].value) == (key.encode(), body)
        assert list(letters[reason].headers) == headers
        assert (letters[reason].topic, letters[reason].stage) == ("reviews", "judge")
        assert letters[reason].detail
    answers = [event.id for event in await read_to_end(settings, plant, AUDIT)]
    assert sorted(answers) == sorted(["s/1", "refused/truncated", *(f"refused/{reason}" for reason in bad)])
    assert await committed(settings, f"{plant.plant}.judge") == 7


async def test_over_the_byte_budget_partitions_are_paused_and_nothing_is_dropped(
    settings: KafkaSettings, plant: Plant
) -> None:
    count, size_bytes, budget_bytes = 80, MIB // 2, 2 * MIB
    large = "x" * size_bytes
    await publish(
        settings, plant, REVIEWS, [(STATIONS[n % 12], review(STATIONS[n % 12], n, comment=large)) for n in range(count)]
    )
    go_on = asyncio.Event()
    handler = Echo(wait=lambda _: go_on.wait())
    async with running(handler, plant, settings, budget_bytes=budget_bytes) as stage:
        await until(lambda: COPIES * handler.held_bytes > budget_bytes, "the budget is used up")
        # long enough for several more fetches
        taken, since = len(handler.taken), handler.ticks
        while handler.ticks < since + 50:
            await asyncio.sleep(0.02)
            if len(handler.taken) > taken:
                taken, since = len(handler.taken), handler.ticks
        assert taken < count
        assert value(stage, "budget_limit_bytes", budget="held") == budget_bytes
        assert value(stage, "budget_used_bytes", budget="held") == COPIES * handler.held_bytes
        assert 0 < value(stage, "budget_used_bytes", budget="fetched") <= FETCH_MAX_BYTES
        go_on.set()
        await until(lambda: value(stage, "in_total", topic="reviews") == count, "all are taken")
        await until(lambda: value(stage, "in_progress") == 0, "all are finished")
    assert COPIES * handler.most_held_bytes <= budget_bytes + COPIES * (size_bytes + 1024)
    assert len(handler.taken) == len(set(handler.taken)) == count


async def test_a_runner_that_is_killed_midway_loses_nothing(settings: KafkaSettings, plant: Plant) -> None:
    await publish(settings, plant, REVIEWS, reviews(200))

    async def start() -> asyncio.subprocess.Process:
        root = Path(__file__).parents[2]
        return await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("echo_stage.py")), settings.bootstrap_servers, plant.plant,
            env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip

    for share in (300, 900, 1600):
        process = await start()
        await read_until(settings, plant, AUDIT, share)
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def all_committed() -> bool:
        return await committed(settings, f"{plant.plant}.judge") == 2400

    async with running(Echo(), plant, settings) as stage:
        await until(all_committed, "all records are committed")
        assert value(stage, "in_progress") == 0
    answered = {event.id for event in await read_to_end(settings, plant, AUDIT)}
    assert answered == {message.id for _, message in reviews(200)}


async def test_work_that_is_not_finished_is_not_committed(settings: KafkaSettings, plant: Plant) -> None:
    await publish(settings, plant, REVIEWS, [("s", review("s", number)) for number in range(10)])
    held = asyncio.Event()
    handler = Echo(wait=lambda review: held.wait() if review.reviewed_at_ns == 4 else asyncio.sleep(0))

    async def four_committed() -> bool:
        return await committed(settings, f"{plant.plant}.judge") == 4

    async with running(handler, plant, settings) as stage:
        await until(lambda: value(stage, "in_progress") == 1 and len(handler.taken) == 10, "all but one are finished")
        await until(four_committed, "the finished prefix is committed")
        seen = handler.ticks
        await until(lambda: handler.ticks > seen + 50, "several commit intervals pass")
        assert await committed(settings, f"{plant.plant}.judge") == 4
        held.set()
    assert await committed(settings, f"{plant.plant}.judge") == 10


async def test_a_client_that_does_not_find_its_broker_any_more_is_replaced(
    settings: KafkaSettings, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_runner, "CONTACT_TIMEOUT_S", 0.3)
    stop, handler, stage = asyncio.Event(), Echo(), Stage("judge")
    runner = runner_of(handler, plant, settings, stage)
    task = asyncio.create_task(runner.run(stop))
    await until(lambda: stage.ready, "the stage is ready")
    # whatever it was that ended in the client: nobody finds the coordinator while another one looks for it, which never ends
    coordinator = runner._consumer._coordinator
    await coordinator._coordinator_lookup_lock.acquire()
    coordinator.coordinator_dead()
    await publish(settings, plant, REVIEWS, reviews(5))
    await until(lambda: len(handler.assignments) == 2, "another client has the partitions")
    while await committed(settings, f"{plant.plant}.judge") < 5 * len(STATIONS):
        assert not task.done()
    stop.set()
    await asyncio.wait_for(task, 12)
    assert {event.id for event in await read_to_end(settings, plant, AUDIT)} == {each.id for _, each in reviews(5)}


async def test_a_second_worker_takes_half_and_gives_it_back_without_a_record_lost_or_doubled(
    settings: KafkaSettings, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Echo(), Echo()
    async with running(first, plant, settings):
        await until(lambda: first.assignments == [frozenset(range(4))], "the first worker has everything")
        await publish(settings, plant, REVIEWS, reviews(20))
        monkeypatch.setenv("LINESIGHT_INSTANCE", "1")
        async with running(second, plant, settings):
            await until(lambda: bool(second.assignments), "the second worker has its share", within_s=30)
            await publish(settings, plant, REVIEWS, reviews(20, first=20))
            await until(lambda: len(first.taken) + len(second.taken) >= 480, "all records are taken")
            assert first.assignments[-1] | second.assignments[-1] == frozenset(range(4))
            assert not first.assignments[-1] & second.assignments[-1]
        # the second worker is gone for good: its session ends and the first one gets all partitions again
        await publish(settings, plant, REVIEWS, reviews(20, first=40))
        await until(lambda: len(first.taken) + len(second.taken) >= 720, "all records are taken")
    assert len(second.taken) > 0
    assert Counter(first.taken + second.taken) == Counter(message.id for _, message in reviews(60))


async def test_an_unexpected_error_of_the_handler_stops_the_process_and_skips_nothing(
    settings: KafkaSettings, plant: Plant
) -> None:
    await publish(settings, plant, REVIEWS, [("s", review("s", number)) for number in range(10)])

    class Broken(Echo):
        async def take(self, record: Record) -> None:
            if record.message.reviewed_at_ns == 5:
                raise KeyError("a defect of the program")
            await super().take(record)

    with pytest.raises(StageFailed, match=r"reviews/\d/5.*a defect of the program"):
        await asyncio.wait_for(runner_of(Broken(), plant, settings, Stage("judge")).run(asyncio.Event()), 60)
    assert await committed(settings, f"{plant.plant}.judge") <= 5
    async with running(Echo(), plant, settings):
        await read_until(settings, plant, AUDIT, 10)
    assert {event.id for event in await read_to_end(settings, plant, AUDIT)} == {f"s/{number}" for number in range(10)}


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
        await until(lambda: value(stage, "retried_total", reason="broker") >= 1, "it says that the broker is away")
        await until(lambda: not stage.ready, "the stage is not ready")
        await asyncio.to_thread(mortal_kafka.start)
        await until(lambda: stage.ready, "the stage is ready again")
        await publish(settings, plant, REVIEWS, reviews(20, first=20))
        await until(lambda: value(stage, "in_progress") == 0 and len(handler.taken) >= 480, "all are finished")
    answers = Counter(event.id for event in await read_to_end(settings, plant, AUDIT))
    assert set(answers) == {message.id for _, message in reviews(40)}
    assert await committed(settings, f"{plant.plant}.judge") == 480
