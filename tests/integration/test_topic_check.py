"""A stage makes or verifies its plant's topics at its start, and does not work on topics that differ, whenever that comes out."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from broker import until
from echo_stage import plant_named

from cli.topic_check import TopicCheck
from ops.local.ports import free_ports
from schemas.errors import TopicMismatch
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import CATALOGUE, FRAMES
from topologies.topic_admin import topic_states

WITHIN_S = 60


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka)


async def make_differing_topic(settings: KafkaSettings, plant: str) -> None:
    """`frames` with 2 partitions."""
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    await admin.create_topics([NewTopic(FRAMES.on(plant), 2, 1, topic_configs=FRAMES.config)])
    await admin.close()


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: str) -> None:
    """One connection, byte for byte, to `to` (host:port)."""
    host, _, port = to.rpartition(":")
    further_reader, further_writer = await asyncio.open_connection(host, int(port))

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()

    await asyncio.gather(copy(reader, further_writer), copy(further_reader, writer), return_exceptions=True)


async def test_missing_topics_are_made(settings: KafkaSettings, unique_prefix: str) -> None:
    plant = plant_named(unique_prefix)

    async def all_present() -> bool:
        return all(state.present for state in await topic_states(plant, kafka=settings))

    async with TopicCheck(plant=plant, stage=Stage("judge"), kafka=settings, on_failure=lambda: None):
        await until(all_present, "every topic is there")


async def test_a_topic_that_differs_ends_the_stage_before_it_works(settings: KafkaSettings, unique_prefix: str) -> None:
    await make_differing_topic(settings, unique_prefix)
    with pytest.raises(TopicMismatch, match=f"{FRAMES.on(unique_prefix)}: partitions is 2, expected 4"):
        async with TopicCheck(
            plant=plant_named(unique_prefix), stage=Stage("judge"), kafka=settings, on_failure=lambda: None
        ):
            pytest.fail("the work began")


async def test_a_broker_that_comes_later_is_asked_then(settings: KafkaSettings, unique_prefix: str) -> None:
    await make_differing_topic(settings, unique_prefix)
    (port,) = free_ports(1)
    through = settings.model_copy(update={"bootstrap_servers": f"127.0.0.1:{port}"})
    stop = asyncio.Event()

    async def work() -> None:
        async with TopicCheck(
            plant=plant_named(unique_prefix), stage=Stage("judge"), kafka=through, on_failure=stop.set
        ):
            assert not stop.is_set()  # the work goes on without a broker
            async with await asyncio.start_server(
                lambda reader, writer: forward(reader, writer, settings.bootstrap_servers), "127.0.0.1", port
            ):
                await until(stop.is_set, "the stage is asked to end")

    with pytest.raises(TopicMismatch, match="partitions is 2, expected 4"):
        await work()


async def test_a_stage_stops_with_the_broker_away() -> None:
    (port,) = free_ports(1)
    away = KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}")
    async with (
        asyncio.timeout(WITHIN_S),
        TopicCheck(plant=plant_named("nowhere"), stage=Stage("judge"), kafka=away, on_failure=lambda: None),
    ):
        pass


async def test_what_the_broker_has_is_told_topic_by_topic(settings: KafkaSettings, unique_prefix: str) -> None:
    await make_differing_topic(settings, unique_prefix)
    states = await topic_states(plant_named(unique_prefix), kafka=settings)
    assert [state.name for state in states] == [topic.on(unique_prefix) for topic in CATALOGUE]
    (frames,) = [state for state in states if state.present]
    assert frames.name == FRAMES.on(unique_prefix)
    assert "partitions is 2, expected 4" in str(frames.differences[0])
