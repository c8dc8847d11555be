"""The line runner on a real broker, beside what `test_both_runners.py` asks of both: bounds, its client, workers that share the work."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from broker import committed, publish, read_to_end, until
from echo_stage import STATIONS, Echo, plant_named, review, reviews, running, value

from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import AUDIT, DEAD_LETTERS, REVIEWS
from topologies import line_runner
from topologies.holdings import COPIES
from topologies.line_runner import LineRunner
from topologies.membership import FETCH_MAX_BYTES
from topologies.topic_admin import ensure_topics

MIB = 1 << 20


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka)


@pytest.fixture
async def plant(settings: KafkaSettings, unique_prefix: str) -> Plant:
    plant = plant_named(unique_prefix)
    await ensure_topics(plant, kafka=settings, topics=(REVIEWS, AUDIT, DEAD_LETTERS))
    return plant


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
    async with running("judge", handler, plant, settings, budget_bytes=budget_bytes) as stage:
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


async def test_a_client_that_does_not_find_its_broker_any_more_is_replaced(
    settings: KafkaSettings, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_runner, "CONTACT_TIMEOUT_S", 0.3)
    stop, handler, stage = asyncio.Event(), Echo(), Stage("judge")
    runner = LineRunner(plant=plant, stage=stage, topics=(REVIEWS,), handler=handler, kafka=settings)
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
    async with running("judge", first, plant, settings):
        await until(lambda: first.assignments == [frozenset(range(4))], "the first worker has everything")
        await publish(settings, plant, REVIEWS, reviews(20))
        monkeypatch.setenv("LINESIGHT_INSTANCE", "1")
        async with running("judge", second, plant, settings):
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
