"""How a client of Kafka is let go: with its farewell where the broker takes it, without it where the broker is away."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

CLOSE_S = 2.0


async def close(
    client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient, *, within_s: float = CLOSE_S
) -> bool:
    """Closes `client`; after `within_s` its connections only. Returns whether it said farewell.

    aiokafka's own `stop` waits for a broker that is away, or that has just come back, for as long as a request or the rest of a group may
    take, and whoever stops a process waits with it.
    """
    try:
        async with asyncio.timeout(within_s):
            await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
    except (KafkaError, OSError, TimeoutError):
        await (client.client if isinstance(client, AIOKafkaProducer) else client._client).close()
        return False
    return True
