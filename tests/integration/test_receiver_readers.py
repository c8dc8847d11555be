"""Readers of one receiver in two processes: a partition changes hands without a message told late, twice or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from broker import committed, publish, read_to_end, until
from echo_stage import plant_named, review

from schemas.plant import Plant
from schemas.records import Review
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import DEAD_LETTERS, REVIEWS
from topologies.producer import Producer
from topologies.receiver_reader import Delivery, ReceiverReader
from topologies.topic_admin import ensure_topics

GROUP = "alerts.receiver-shift"


@pytest.fixture
def settings(kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    monkeypatch.setenv("LINESIGHT_RUN_DIR", str(tmp_path))
    return KafkaSettings(bootstrap_servers=kafka)


@pytest.fixture
async def plant(settings: KafkaSettings, unique_prefix: str) -> Plant:
    plant = plant_named(unique_prefix, partitions=1)
    await ensure_topics(plant, kafka=settings, topics=(REVIEWS, DEAD_LETTERS))
    return plant


class Instance:
    """One process's share: `told` is what the receiver had from it, `hand_over` what it does with a message before that."""

    def __init__(self, name: str, told: list[str], hand_over: Callable[[Review], Awaitable[Any]]) -> None:
        self.name = name
        self.told = told
        self.hand_over = hand_over
        self.begun: list[str] = []
        self.reader: ReceiverReader

    async def deliver(self, message: Review) -> None:
        self.begun.append(message.id)
        await self.hand_over(message)
        self.told.append(f"{message.id} by {self.name}")

    @asynccontextmanager
    async def running(
        self, plant: Plant, settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch, *, is_state: bool
    ) -> AsyncIterator[None]:
        monkeypatch.setenv("LINESIGHT_INSTANCE", self.name)
        stage = Stage("alerts")

        async def in_effect(message: Review) -> None:
            """What was handed over is shown."""

        delivery = Delivery(
            name="receiver-shift",
            host="shift",
            max_tries=3,
            concerns=lambda message: True,
            deliver=self.deliver,
            count=lambda outcome: None,
            in_effect=in_effect if is_state else None,
        )
        async with Producer(plant=plant.plant, stage=stage, kafka=settings) as producer:
            self.reader = ReceiverReader(
                delivery=delivery, topic=REVIEWS, plant=plant.plant, partitions=1, stage=stage, kafka=settings,
                producer=producer, begins_ms=time.time_ns() // 1_000_000,
            )  # fmt: skip
            task = asyncio.create_task(self.reader.run())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.wait({task})


async def at_once(message: Review) -> None:
    """Taken without a wait."""


@pytest.mark.parametrize("is_state", [False, True], ids=["messages", "a state"])
async def test_what_hangs_here_is_told_by_the_next_owner_and_never_after_newer_ones(
    settings: KafkaSettings, plant: Plant, monkeypatch: pytest.MonkeyPatch, *, is_state: bool
) -> None:
    told: list[str] = []
    released = asyncio.Event()
    # the range assignment gives the only partition to the member whose name comes first
    loses = Instance("b", told, lambda message: released.wait())
    gets = Instance("a", told, at_once)
    async with loses.running(plant, settings, monkeypatch, is_state=is_state):
        await until(loses.reader._owned.is_set, "the partition is ours")
        await publish(settings, plant, REVIEWS, [("s", review("s", 1))])
        await until(lambda: loses.begun == ["s/1"], "a delivery is under way")
        async with gets.running(plant, settings, monkeypatch, is_state=is_state):
            await until(lambda: told == ["s/1 by a"], "the next owner tells it")
            await publish(settings, plant, REVIEWS, [("s", review("s", 2))])
            await until(lambda: len(told) == 2, "it goes on")
            released.set()
            await asyncio.sleep(0)
    assert told == ["s/1 by a", "s/2 by a"]
    assert await read_to_end(settings, plant, DEAD_LETTERS) == []


async def test_what_is_finished_in_time_is_not_told_again(
    settings: KafkaSettings, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    async def until_asked_back(message: Review) -> None:
        await until(lambda: not loses.reader._owned.is_set(), "the partition is asked back")

    loses, gets = Instance("b", told, until_asked_back), Instance("a", told, at_once)
    async with loses.running(plant, settings, monkeypatch, is_state=False):
        await until(loses.reader._owned.is_set, "the partition is ours")
        await publish(settings, plant, REVIEWS, [("s", review("s", 1))])
        await until(lambda: loses.begun == ["s/1"], "a delivery is under way")
        async with gets.running(plant, settings, monkeypatch, is_state=False):
            await publish(settings, plant, REVIEWS, [("s", review("s", 2))])
            await until(lambda: "s/2 by a" in told, "the next owner tells the next one")
    assert told == ["s/1 by b", "s/2 by a"]
    assert await committed(settings, f"{plant.plant}.{GROUP}") >= 1


async def test_what_was_before_a_new_receiver_is_not_told_though_its_first_owner_had_not_begun(
    settings: KafkaSettings, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(settings, plant, REVIEWS, [("s", review("s", 0))])
    told: list[str] = []
    loses, gets = Instance("b", told, at_once), Instance("a", told, at_once)
    async with loses.running(plant, settings, monkeypatch, is_state=False):
        monkeypatch.setattr(loses.reader, "_begin", lambda consumer, places: asyncio.Event().wait())  # a slow broker
        await until(loses.reader._owned.is_set, "the partition is ours")
        async with gets.running(plant, settings, monkeypatch, is_state=False):
            await until(gets.reader._owned.is_set, "the partition is the other's")
            await publish(settings, plant, REVIEWS, [("s", review("s", 1))])
            await until(lambda: bool(told), "it is told")
    assert told == ["s/1 by a"]
