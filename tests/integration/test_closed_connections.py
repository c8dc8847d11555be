"""A connection that the broker closed is replaced, under the event loop that stages run in: no task of the client ends with it."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from schemas.settings import KafkaSettings

PATIENCE_S = 20.0


def test_what_is_written_to_a_closed_connection_fails_as_a_kafka_error(kafka: str) -> None:
    uvloop.run(_written_to_closed(kafka))


async def _written_to_closed(kafka: str) -> None:
    consumer = AIOKafkaConsumer(**KafkaSettings(bootstrap_servers=kafka).client())
    await consumer.start()
    try:
        await consumer._client.force_metadata_update()
        for connection in list(consumer._client._conns.values()):
            connection._read_task.cancel()  # it has not come round to its end yet
            connection._writer.transport.abort()
            await connection._closed_fut
            with pytest.raises(KafkaConnectionError):
                await connection.send(MetadataRequest([]))
        async with asyncio.timeout(PATIENCE_S):
            assert await consumer._client.force_metadata_update()
    finally:
        await consumer.stop()
