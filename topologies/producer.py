"""Messages out, each acknowledged by the broker: idempotent, in the order of the calls, repeated until it succeeds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)

from schemas.closing import close
from schemas.codec import Encoded, encode
from schemas.errors import Fatal
from schemas.patience import pause_s
from schemas.settings import BudgetSettings, KafkaSettings
from schemas.telemetry import AttemptRepeated, Stage
from schemas.topics import MIB_BYTES, Topic
from topologies.byte_budget import ByteBudget

# Above the largest topic limit: a dead letter carries a whole frame.
MAX_REQUEST_BYTES = 6 * MIB_BYTES
REQUEST_TIMEOUT_MS = 10_000
SAY_AFTER_S = 3.0
FLUSH_S = 3.0
BATCH_BYTES = 256 * 1024
"""Of a partition in one request, well below what every topic takes. By the default, 16 kB, thousands of figures take a hundred requests."""
MOST_CALLS = 100_000
NEVER = (ClusterAuthorizationFailedError, MessageSizeTooLargeError, TopicAuthorizationFailedError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to be produced. `key` is what the catalogue says for the topic; equal keys meet in one partition."""

    topic: Topic
    key: str
    message: Any
    traceparent: bytes | None = None


@dataclass(slots=True)
class _Sent:
    """A message that the broker has not acknowledged yet."""

    topic: Topic
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    client: AIOKafkaProducer
    future: asyncio.Future[Any]


class Producer:
    """Produces messages of one plant. Use as an async context manager; its start waits for the broker.

    The client below repeats a failed request by itself, with sequence numbers, so that nothing is doubled or reordered.
    Where it gives up (no leader for long, a broker that lost its state) it is replaced, and what was not acknowledged is
    sent again in its order: readers remove duplicates by id.

    What is not acknowledged is bounded (`LINESIGHT_BUDGET_UNSENT_MIB`): over it, senders wait in the order of their calls.
    """

    def __init__(self, *, plant: str, stage: Stage, kafka: KafkaSettings) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        limit_bytes = BudgetSettings().unsent_bytes
        self._room = ByteBudget(
            limit_bytes=limit_bytes,
            limit_count=MOST_CALLS,
            used=stage.budget("unsent", limit_bytes=limit_bytes),
        )
        self._admission = asyncio.Lock()  # so that the order of the calls outlasts waiting for room
        self._order = asyncio.Lock()  # first come, first served: concurrent senders keep the order of their calls
        self._unacknowledged: dict[int, _Sent] = {}
        self._tickets = 0
        self._said_at = -SAY_AFTER_S
        self._client: AIOKafkaProducer | None = None
        self._replacement: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._client = await self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._replacement is not None:
            self._replacement.cancel()
        if self._client is not None:
            await close(self._client, within_s=FLUSH_S)

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Returns when the broker has acknowledged all of them.

        Repeats without end what is transient, visibly (`AttemptRepeated`); a cancelled call may or may not have sent.
        Raises Fatal where repeating is useless: not authorised, larger than the topic allows.
        """
        encoded = [(item, encode(item.topic, item.message, traceparent=item.traceparent)) for item in outgoing]
        async with AsyncExitStack() as room:
            async with self._admission:
                size_bytes = sum(len(message.value) for _, message in encoded)
                await room.enter_async_context(self._room.hold(size_bytes))
                await self._order.acquire()
            await self._send_all(encoded)

    async def _send_all(self, encoded: Sequence[tuple[Outgoing, Encoded]]) -> None:
        """Called with `_order` taken, which it gives back as soon as the client has taken everything over."""
        mine: dict[int, _Sent] = {}
        try:
            try:
                for item, message in encoded:
                    self._tickets += 1
                    ticket = self._tickets
                    mine[ticket] = self._unacknowledged[ticket] = await self._submit(
                        item.topic, item.key.encode(), message.value, message.headers
                    )
            finally:
                self._order.release()
            for sent in mine.values():
                await self._acknowledged(sent)
                self._stage.produced.labels(sent.topic.name).inc()
        finally:
            for ticket in mine:
                del self._unacknowledged[ticket]

    async def _submit(self, topic: Topic, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> _Sent:
        attempt = 0
        while True:
            client = self._client
            assert client is not None, "used outside of its context"
            try:
                future = await client.send(topic.on(self._plant), value=value, key=key, headers=headers)
            except NEVER as error:
                raise Fatal(
                    f"{topic.on(self._plant)} does not take a record of {len(value)} bytes: {error!r}"
                ) from error
            except KafkaError as error:
                # the client's buffer is full, or it does not know the topic's partitions: nothing was taken over
                attempt += 1
                self._say(f"{topic.name}: {error!r}", attempt)
                await asyncio.sleep(pause_s(attempt))
                continue
            return _Sent(topic, key, value, headers, client, future)

    async def _acknowledged(self, sent: _Sent) -> None:
        attempt = 0
        while True:
            future = sent.future
            # of many that were sent together most are done once the first one is, and waiting costs 50 us
            if not future.done():
                await asyncio.wait([future], timeout=SAY_AFTER_S)
            if not future.done():
                attempt += 1
                self._say(f"{sent.topic.name}: not acknowledged for {attempt * SAY_AFTER_S:g} s", attempt)
                continue
            error = future.exception()
            if error is None:
                return
            if isinstance(error, NEVER):
                raise Fatal(f"{sent.topic.on(self._plant)} does not take our records: {error!r}") from error
            attempt += 1
            self._say(f"{sent.topic.name}: {error!r}", attempt)
            if sent.future is future:
                await self._replaced(sent.client)

    async def _replaced(self, broken: AIOKafkaProducer) -> None:
        """Returns when `broken` has been replaced. Whoever asks may be cancelled; the replacement goes on for the others."""
        if self._replacement is None or self._replacement.done():
            self._replacement = asyncio.create_task(self._replace(broken))
        await asyncio.shield(self._replacement)

    async def _replace(self, broken: AIOKafkaProducer) -> None:
        async with self._order:
            if self._client is not broken:
                return
            await asyncio.sleep(pause_s(1))
            await close(broken, within_s=FLUSH_S)
            self._client = await self._connect()
            for sent in list(self._unacknowledged.values()):
                if sent.future.done() and sent.future.exception() is None:
                    continue  # acknowledged; its sender has not looked yet
                again = await self._submit(sent.topic, sent.key, sent.value, sent.headers)
                sent.client, sent.future = again.client, again.future

    async def _connect(self) -> AIOKafkaProducer:
        attempt = 0
        while True:
            client = AIOKafkaProducer(
                **self._kafka.client(),
                acks="all",
                enable_idempotence=True,
                linger_ms=0,  # requests to a broker go one at a time, so batches form by themselves under load
                max_batch_size=BATCH_BYTES,
                max_request_size=MAX_REQUEST_BYTES,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
            )
            try:
                await client.start()
            except KafkaError as error:
                await close(client, within_s=FLUSH_S)
                attempt += 1
                self._say(f"{self._kafka.bootstrap_servers}: {error!r}", attempt)
                await asyncio.sleep(pause_s(attempt))
                continue
            except BaseException:
                await close(client, within_s=FLUSH_S)
                raise
            return client

    def _say(self, detail: str, attempt: int) -> None:
        """Once per interval: when the broker is away, every sender waits for the same reason."""
        now = time.monotonic()
        if now - self._said_at < SAY_AFTER_S / 2:
            return
        self._said_at = now
        self._stage.emit(AttemptRepeated(service="broker", detail=detail, attempt=attempt))
