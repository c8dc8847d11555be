"""A client of Kafka is let go in time, also where the broker stands still and would be waited for."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from board_frames import demo_plant

from ops.local.kafka import LocalKafka
from schemas.closing import close
from schemas.settings import KafkaSettings
from schemas.topics import ALERTS
from topologies.topic_admin import ensure_topics

WITHIN_S = 0.5
PATIENCE_S = 15.0
"""Far below what the client itself waits for (a request's 40 s), far above the deadline on a busy machine."""


async def test_a_broker_that_stands_still_holds_up_nobody_who_leaves(
    mortal_kafka: LocalKafka, unique_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", mortal_kafka.bootstrap_servers)
    plant, settings = demo_plant(unique_prefix), KafkaSettings()
    await ensure_topics(plant, kafka=settings, topics=(ALERTS,))
    topic = ALERTS.on(plant.plant)
    member = AIOKafkaConsumer(topic, **settings.client(), group_id="g", enable_auto_commit=True)
    producer, admin = AIOKafkaProducer(**settings.client()), AIOKafkaAdminClient(**settings.client())
    for client in (member, producer, admin):
        await client.start()
    await producer.send_and_wait(topic, b"is taken")
    os.kill(mortal_kafka.child.pid, signal.SIGSTOP)
    try:
        await producer.send(topic, b"is not taken")
        for client in (member, producer, admin):
            async with asyncio.timeout(PATIENCE_S):
                await close(client, within_s=WITHIN_S)
    finally:
        os.kill(mortal_kafka.child.pid, signal.SIGCONT)
