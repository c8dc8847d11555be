"""A plant's topics are made as the catalogue says; what differs is named, setting by setting."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from echo_stage import plant_named

from ops.local.ports import free_ports
from schemas.errors import ConfigurationError, ServiceAway, TopicMismatch
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT, CATALOGUE, DAY_MS, FRAMES, VERDICTS
from topologies.topic_admin import ensure_topics


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka)


async def test_all_topics_are_created_once_and_verified_afterwards(settings: KafkaSettings, unique_prefix: str) -> None:
    plant = plant_named(unique_prefix, partitions=3)
    names = {topic.on(unique_prefix) for topic in CATALOGUE}
    first = await ensure_topics(plant, kafka=settings)
    assert (set(first.created), first.verified) == (names, ())
    second = await ensure_topics(plant, kafka=settings)
    assert (second.created, set(second.verified)) == ((), names)

    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    described = await admin.describe_topics(sorted(names))
    await admin.close()
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    assert counts == {topic.on(unique_prefix): 1 if topic.partitions == 1 else 3 for topic in CATALOGUE}


async def test_every_difference_is_named_with_what_was_expected_and_found(
    settings: KafkaSettings, unique_prefix: str
) -> None:
    plant = plant_named(unique_prefix, partitions=4)
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    frames, verdicts = FRAMES.on(unique_prefix), VERDICTS.on(unique_prefix)
    await admin.create_topics(
        [
            NewTopic(frames, 2, 1, topic_configs={**FRAMES.config, "message.timestamp.type": "CreateTime"}),
            NewTopic(verdicts, 4, 1, topic_configs=VERDICTS.config),
        ]
    )
    await admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, verdicts, {**VERDICTS.config, "retention.ms": str(DAY_MS)})]
    )
    await admin.close()
    with pytest.raises(TopicMismatch) as raised:
        await ensure_topics(plant, kafka=settings, topics=(FRAMES, VERDICTS, AUDIT))
    lines = [line.strip() for line in str(raised.value).splitlines()]
    assert f"{frames}: partitions is 2, expected 4" in lines
    assert f"{frames}: message.timestamp.type is CreateTime, expected LogAppendTime" in lines
    assert f"{verdicts}: retention.ms is {DAY_MS}, expected {VERDICTS.retention_ms}" in lines
    assert sum(" expected " in line for line in lines) == 3


async def test_several_processes_may_create_at_the_same_time(settings: KafkaSettings, unique_prefix: str) -> None:
    plant = plant_named(unique_prefix)
    found = await asyncio.gather(*(ensure_topics(plant, kafka=settings) for _ in range(4)))
    assert sorted(name for one in found for name in one.created) == sorted(t.on(unique_prefix) for t in CATALOGUE)


async def test_a_broker_that_does_not_answer_is_named_with_what_to_do() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(ServiceAway, match=f"{address}.*KAFKA_BOOTSTRAP_SERVERS"):
        await ensure_topics(plant_named("nowhere"), kafka=KafkaSettings(bootstrap_servers=address), deadline_s=1)


async def test_more_replicas_than_brokers_is_an_error_of_configuration(
    settings: KafkaSettings, unique_prefix: str
) -> None:
    asked = settings.model_copy(update={"replication_factor": 3})
    with pytest.raises(ConfigurationError, match="InvalidReplicationFactor"):
        await ensure_topics(plant_named(unique_prefix), kafka=asked, topics=(AUDIT,), deadline_s=10)
