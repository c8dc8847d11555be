"""Whether it is the broker that is away, where no commit gets through, or only our client that does not find it any more."""

from __future__ import annotations

import asyncio

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from schemas.settings import KafkaSettings

ANSWER_WITHIN_S = 2.0
LOOKS = 3
"""A broker that has just come back may be found late; one that answered others at so many failures in a row will not be."""


class Contact:
    """Tells a lost client from an absent broker, by what another client finds."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._answered = 0

    def made(self) -> None:
        """The client got through."""
        self._answered = 0

    async def failed(self, error: Exception) -> None:
        """The client did not get through. Raises KafkaConnectionError at the `LOOKS`th time in a row that it had no answer and another
        one had."""
        if not isinstance(error, TimeoutError):
            return
        self._answered = self._answered + 1 if await self._broker_answers() else 0
        if self._answered >= LOOKS:
            raise KafkaConnectionError("no commit gets through although the broker answers others") from error

    async def _broker_answers(self) -> bool:
        client = AIOKafkaClient(**self._kafka.client())
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await client.bootstrap()
        except (KafkaError, OSError, TimeoutError):
            return False
        finally:
            await client.close()
        return True
