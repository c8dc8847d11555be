"""The one way from a gateway to Kafka: in order, acknowledged by all replicas, bounded in bytes, never blocking the loop.

A thread of its own feeds kafka-python's idempotent producer. With the broker away, records wait in memory up to a byte
budget; above it the oldest droppable ones go first, and whoever submitted one is told its fate. Where the client gives
up (it lost its sequence numbers, its delivery timeout passed), it is replaced and everything that was not acknowledged is
sent again in its order; readers remove the duplicates by id.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from kafka import KafkaProducer
from kafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)

from schemas.codec import encode
from schemas.errors import Fatal, ServiceAway
from schemas.patience import LONGEST_S, pause_s
from schemas.settings import KafkaSettings
from schemas.telemetry import AttemptRepeated, Stage
from schemas.topics import MIB_BYTES, Topic

IN_FLIGHT_BYTES = 8 * MIB_BYTES
# Above the largest topic limit; a batch holds what waited while the one before was under way.
MAX_REQUEST_BYTES = 6 * MIB_BYTES
BATCH_BYTES = MIB_BYTES
REQUEST_TIMEOUT_MS = 10_000
BOOTSTRAP_TIMEOUT_MS = 2_000
METADATA_TIMEOUT_MS = 1_000
SAY_AFTER_S = 3.0
CLOSE_S = 1.0
NEVER = (ClusterAuthorizationFailedError, MessageSizeTooLargeError, TopicAuthorizationFailedError)


class Fate(StrEnum):
    """How a record ended. `unknown`: it was under way when the gateway stopped, and may have arrived."""

    ACKNOWLEDGED = "acknowledged"
    DROPPED = "dropped"
    UNKNOWN = "unknown"


@dataclass(slots=True, eq=False)
class _Item:
    """A record on its way. `attempt` numbers the producer that has it; 0 while none has."""

    topic: Topic
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    droppable: bool
    tell: Callable[[Fate], None]
    settled: bool = False
    attempt: int = 0
    handed_over_s: float = 0.0
    size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.size_bytes = len(self.value) + len(self.key) + 200


class RecordPublisher:
    """Publishes messages of one plant. Use as an async context manager; it starts without a broker, too.

    `budget_bytes` bounds what may wait of droppable records.
    """

    def __init__(self, *, plant: str, stage: Stage, kafka: KafkaSettings, budget_bytes: int) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._budget_bytes = budget_bytes
        self._unsent = stage.budget("unsent", limit_bytes=budget_bytes) if budget_bytes else None
        self._untold = 0  # records whose fate was not told yet; the loop's thread alone knows
        self._condition = threading.Condition()
        # guarded by the condition's lock: shared with the thread below and with the client's network thread
        self._waiting: deque[_Item] = deque()
        self._in_flight: dict[_Item, None] = {}
        self._bytes = 0
        self._in_flight_bytes = 0
        self._attempt = 0
        self._failure: str | None = None
        self._stopping = False
        self._connected = False
        self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._settled = asyncio.Event()
        self._fatal: asyncio.Future[None] = self._loop.create_future()
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        await asyncio.to_thread(self._thread.join, BOOTSTRAP_TIMEOUT_MS / 1000 + 3 * CLOSE_S)
        await asyncio.sleep(0)  # fates that the thread has handed over already
        for item in [*self._in_flight, *self._waiting]:
            self._settle(item, Fate.DROPPED if item.droppable and item.attempt == 0 else Fate.UNKNOWN)
        self._fatal.cancel()

    @property
    def connected(self) -> bool:
        """Whether the broker takes records."""
        return self._connected

    def submit(
        self,
        topic: Topic,
        key: str,
        message: Any,
        *,
        tell: Callable[[Fate], None],
        droppable: bool = False,
        traceparent: bytes | None = None,
    ) -> None:
        """Takes a record over and calls `tell` with its fate, once. Order is kept per key. Call it on the loop's thread.

        Droppable records are given up, oldest first, while more than the budget waits; others always stay.
        """
        encoded = encode(topic, message, traceparent=traceparent)
        self._untold += 1
        item = _Item(topic, key.encode(), encoded.value, encoded.headers, droppable, tell)
        with self._condition:
            self._waiting.append(item)
            self._bytes += item.size_bytes
            dropped = self._over_budget()
            self._condition.notify_all()
        for old in dropped:
            self._settle(old, Fate.DROPPED)
        self._show_bytes()

    async def publish(self, topic: Topic, key: str, message: Any, *, traceparent: bytes | None = None) -> None:
        """Returns when the broker has acknowledged the record. Raises `ServiceAway` where the publisher was closed before."""
        told: asyncio.Future[Fate] = self._loop.create_future()
        self.submit(
            topic,
            key,
            message,
            tell=lambda fate: None if told.done() else told.set_result(fate),
            traceparent=traceparent,
        )
        if await told is not Fate.ACKNOWLEDGED:
            raise ServiceAway(f"{topic.on(self._plant)}: not acknowledged before the gateway stopped")

    async def failed(self) -> None:
        """Raises `Fatal` once repeating is useless: not authorised, or larger than the topic allows."""
        await asyncio.shield(self._fatal)

    async def room(self) -> None:
        """Returns when at most half of the budget is taken: for whoever would rather wait than lose a record."""
        while self._bytes > self._budget_bytes // 2:
            self._settled.clear()
            await self._settled.wait()

    async def drained(self, *, within_s: float) -> bool:
        """Waits until every record's fate was told; False where that takes longer than `within_s`."""
        try:
            async with asyncio.timeout(within_s):
                while self._untold:
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            return False
        return True

    # --- on the loop's thread ----------------------------------------------------------------------------------------

    def _settle(self, item: _Item, fate: Fate) -> None:
        if item.settled:
            return
        item.settled = True
        self._untold -= 1
        if fate is Fate.ACKNOWLEDGED:
            self._stage.produced.labels(item.topic.name).inc()
        item.tell(fate)
        self._show_bytes()
        self._settled.set()

    def _fail(self, error: Exception) -> None:
        if not self._fatal.done():
            self._fatal.set_exception(error)

    # --- with the lock held ------------------------------------------------------------------------------------------

    def _over_budget(self) -> list[_Item]:
        """Takes the oldest droppable records out until the rest fits."""
        dropped: list[_Item] = []
        if self._bytes <= self._budget_bytes:
            return dropped
        kept: deque[_Item] = deque()
        while self._waiting and self._bytes > self._budget_bytes:
            item = self._waiting.popleft()
            if item.droppable and item.attempt == 0:
                self._bytes -= item.size_bytes
                dropped.append(item)
            else:
                kept.append(item)
        self._waiting.extendleft(reversed(kept))
        return dropped

    def _take_back(self) -> None:
        """What a dead producer had goes back to the front, in its order."""
        self._waiting.extendleft(reversed(self._in_flight))
        self._in_flight.clear()
        self._in_flight_bytes = 0
        self._failure = None

    def _show_bytes(self) -> None:
        self._stage.in_progress_bytes.set(self._bytes)
        if self._unsent is not None:
            self._unsent.set(self._bytes)

    # --- on the publisher's thread -----------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._stopping:
                producer = self._connect()
                if producer is None:
                    return
                try:
                    self._pump(producer)
                finally:
                    self._connected = False
                    producer.close(timeout=CLOSE_S)
                if self._failure is not None and not self._stopping:
                    self._say(self._failure, 1)
                    self._pause(1)
                with self._condition:
                    if not self._stopping:
                        self._take_back()
        except Exception as error:
            # whatever it is, a gateway that no longer publishes must not go on silently
            self._loop.call_soon_threadsafe(self._fail, error)

    def _connect(self) -> KafkaProducer | None:
        attempt = 0
        while not self._stopping:
            try:
                return KafkaProducer(
                    **self._kafka.client(),
                    acks="all",
                    enable_idempotence=True,
                    batch_size=BATCH_BYTES,
                    max_request_size=MAX_REQUEST_BYTES,
                    request_timeout_ms=REQUEST_TIMEOUT_MS,
                    bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
                    max_block_ms=METADATA_TIMEOUT_MS,
                    reconnect_backoff_max_ms=int(LONGEST_S * 1000),
                    allow_auto_create_topics=False,
                    metrics_enabled=False,
                )
            except NEVER as error:
                raise Fatal(f"{self._kafka.bootstrap_servers}: {error!r}") from error
            except KafkaError as error:
                attempt += 1
                self._say(f"{self._kafka.bootstrap_servers}: {error!r}", attempt)
                self._pause(attempt)
        return None

    def _pump(self, producer: KafkaProducer) -> None:
        """Hands records to `producer` until it fails or the publisher stops."""
        with self._condition:
            self._attempt += 1
            self._connected = True
        while True:
            with self._condition:
                self._condition.wait_for(self._has_work, timeout=SAY_AFTER_S)
                if self._stopping or self._failure is not None:
                    return
                item = self._hand_over() if self._can_send() else None
            if item is None:
                self._say_if_stuck()
                continue
            try:
                future = producer.send(item.topic.on(self._plant), key=item.key, value=item.value, headers=item.headers)
            except NEVER as error:
                raise Fatal(f"{item.topic.on(self._plant)} does not take {item.size_bytes} bytes: {error!r}") from error
            except (KafkaError, ValueError) as error:
                # no metadata for the topic: it does not exist yet, or the broker is away
                self._on_error(item, item.attempt, error)
                continue
            future.add_callback(self._on_acknowledged, item, item.attempt)
            future.add_errback(self._on_error, item, item.attempt)

    def _has_work(self) -> bool:
        return self._stopping or self._failure is not None or self._can_send()

    def _can_send(self) -> bool:
        return bool(self._waiting) and self._in_flight_bytes < IN_FLIGHT_BYTES

    def _hand_over(self) -> _Item:
        item = self._waiting.popleft()
        item.attempt = self._attempt
        item.handed_over_s = time.monotonic()
        self._in_flight[item] = None
        self._in_flight_bytes += item.size_bytes
        return item

    def _say_if_stuck(self) -> None:
        with self._condition:
            oldest = next(iter(self._in_flight), None)
        stuck_s = 0.0 if oldest is None else time.monotonic() - oldest.handed_over_s
        self._connected = stuck_s < SAY_AFTER_S
        if oldest is not None and not self._connected:
            self._say(f"{oldest.topic.name}: not acknowledged for {stuck_s:.0f} s", int(stuck_s / SAY_AFTER_S))

    def _say(self, detail: str, attempt: int) -> None:
        self._stage.emit(AttemptRepeated(service="broker", detail=detail, attempt=attempt))

    def _pause(self, attempt: int) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._stopping, timeout=pause_s(attempt))

    # --- on the client's network thread ------------------------------------------------------------------------------

    def _on_acknowledged(self, item: _Item, attempt: int, _metadata: Any) -> None:
        with self._condition:
            if item not in self._in_flight or item.attempt != attempt:
                return
            del self._in_flight[item]
            self._in_flight_bytes -= item.size_bytes
            self._bytes -= item.size_bytes
            self._connected = True
            self._condition.notify_all()
        self._tell(self._settle, item, Fate.ACKNOWLEDGED)

    def _on_error(self, item: _Item, attempt: int, error: BaseException) -> None:
        if isinstance(error, NEVER):
            what = f"{item.topic.on(self._plant)} does not take a record of {item.size_bytes} bytes: {error!r}"
            self._tell(self._fail, Fatal(what))
        with self._condition:
            if item in self._in_flight and item.attempt == attempt:
                self._failure = f"{item.topic.name}: {error!r}"
                self._condition.notify_all()

    def _tell(self, what: Any, *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:
            # the loop has closed: nobody is left to be told
            pass
