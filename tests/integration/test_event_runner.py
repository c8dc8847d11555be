"""The event runner on a real broker, beside what `test_both_runners.py` asks of both: topics, fetches, workers that share the work."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher
from broker import publish, until
from echo_stage import Echo, plant_named, reviews, running

from schemas.errors import ConfigurationError
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT, DEAD_LETTERS, REVIEWS
from topologies.event_runner import GATHER_MS
from topologies.membership import GATHER_BYTES
from topologies.topic_admin import ensure_topics


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


def _places(fetcher: Fetcher) -> Any:
    assignment = fetcher._subscriptions.subscription
    return assignment.assignment.tps if assignment and assignment.assignment else ()


async def test_the_broker_answers_in_larger_pieces_for_nobody_waits_for_these_stages(
    settings: KafkaSettings, plant: Plant
) -> None:
    async with running("alerts", Echo(), plant, settings) as stage:
        await until(lambda: stage.ready, "the stage is ready")
        asked = [
            (fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms)
            for fetcher in gc.get_objects()
            if type(fetcher) is Fetcher and any(place.topic == REVIEWS.on(plant.plant) for place in _places(fetcher))
        ]
    assert asked == [(GATHER_BYTES, GATHER_MS)]


async def test_a_missing_topic_is_said_at_the_start_and_not_passed_over(settings: KafkaSettings) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.reviews; create them with"):
        async with running("alerts", Echo(), plant_named("nowhere"), settings):
            await asyncio.sleep(30)


async def test_a_second_worker_takes_a_share_and_gives_it_back_without_a_record_lost(
    settings: KafkaSettings, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Echo(), Echo()
    async with running("alerts", first, plant, settings):
        await until(lambda: first.assignments == [frozenset(range(4))], "the first worker has everything")
        await publish(settings, plant, REVIEWS, reviews(20))
        monkeypatch.setenv("LINESIGHT_INSTANCE", "1")
        async with running("alerts", second, plant, settings):
            await until(lambda: any(second.assignments), "the second worker has its share", within_s=60)
            await publish(settings, plant, REVIEWS, reviews(20, first=20))
            await until(lambda: len({*first.taken, *second.taken}) >= 480, "all records are taken")
            assert not first.assignments[-1] & second.assignments[-1]
            assert first.assignments[-1] | second.assignments[-1] == frozenset(range(4))
        await publish(settings, plant, REVIEWS, reviews(20, first=40))
        await until(lambda: len({*first.taken, *second.taken}) >= 720, "all records are taken", within_s=90)
    assert second.taken
