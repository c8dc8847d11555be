"""Whether the live inspect stage keeps up, as its consumer group's offsets say it: what backfill and replay wait for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.closing import close
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES

LIVE_STAGE = "inspect"
BEHIND_MS = 500
"""A frame that old is finished and committed on a line that keeps up: commits are 200 ms apart."""
LOOK_EVERY_S = 0.25
LONGEST_WAIT_S = 10.0
"""Then one frame goes ahead all the same: it costs the live group nothing, and a line that is always busy still gets its record."""


class LiveGroup:
    """Watches the live group of one plant. Use as an async context manager. `say` is told what went wrong with the broker."""

    def __init__(self, *, plant: str, kafka: KafkaSettings, say: Callable[[str], None]) -> None:
        self._topic = FRAMES.on(plant)
        self._group = f"{plant}.{LIVE_STAGE}"
        self._say = say
        self._kafka = kafka
        self._clients: tuple[AIOKafkaConsumer, AIOKafkaAdminClient] | None = None
        self._turn = asyncio.Lock()
        self._calm_until_s = 0.0
        self.looks = 0
        """How often the broker was asked."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drop_clients()

    async def wait_until_it_keeps_up(self) -> None:
        """Returns when no live frame waits for long, or after ten seconds, and the closing of clients of a broker that hangs.

        Who asks first is answered first.
        """
        async with self._turn:
            give_up_s = time.monotonic() + LONGEST_WAIT_S
            while self._calm_until_s < time.monotonic() < give_up_s:
                if await self._keeps_up(give_up_s):
                    self._calm_until_s = time.monotonic() + LOOK_EVERY_S
                else:
                    await asyncio.sleep(LOOK_EVERY_S)

    async def _keeps_up(self, give_up_s: float) -> bool:
        """False also while the broker does not say. It is given until `give_up_s` of the monotonic clock."""
        self.looks += 1
        try:
            async with asyncio.timeout(give_up_s - time.monotonic()):
                return await self._ask(time.time_ns() // 1_000_000 - BEHIND_MS)
        except (KafkaError, TimeoutError) as error:
            self._say(f"asking for the live group: {error!r}")
            await self._drop_clients()
            return False

    async def _ask(self, due_ms: int) -> bool:
        """Whether everything that the broker received before `due_ms` is committed."""
        consumer, admin = await self._connected()
        places = [TopicPartition(self._topic, number) for number in consumer.partitions_for_topic(self._topic) or ()]
        committed = await admin.list_consumer_group_offsets(self._group)
        oldest, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        young = await consumer.offsets_for_times(dict.fromkeys(places, due_ms))
        for place in places:
            known = committed.get(place)
            done = max(oldest[place], known.offset if known is not None else 0)
            found = young.get(place)
            if done < (found.offset if found is not None else ends[place]):
                return False
        return True

    async def _connected(self) -> tuple[AIOKafkaConsumer, AIOKafkaAdminClient]:
        if self._clients is None:
            consumer = AIOKafkaConsumer(self._topic, **self._kafka.client(), enable_auto_commit=False)
            admin = AIOKafkaAdminClient(**self._kafka.client())
            try:
                await consumer.start()
                consumer.pause(*consumer.assignment())  # it only asks
                await admin.start()
            except BaseException:
                await close(consumer)
                await close(admin)
                raise
            self._clients = consumer, admin
        return self._clients

    async def _drop_clients(self) -> None:
        clients, self._clients = self._clients, None
        if clients is None:
            return
        consumer, admin = clients
        await close(consumer)
        await close(admin)
