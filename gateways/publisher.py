"""The one way from a gateway to Kafka: in order, acknowledged by all replicas, bounded in bytes, never blocking the loop.

A thread of its own feeds kafka-python's idempotent producer. With the broker away, records wait in memory, and after a second
on disk where there is a spool (`outbox.py` has the rules, `spool.py` what is on disk when); without one, memory is bounded by a budget,
above which the oldest droppable records go first. Whoever submitted a record is told its fate. Where the client gives
up (it lost its sequence numbers, its delivery timeout passed), it is replaced and everything that was not acknowledged is
sent again in its order; readers remove the duplicates by id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

from gateways.outbox import Fate, Item, Outbox
from gateways.segment import Record
from gateways.sender import Sender
from gateways.spool import Spool
from gateways.spool_keeper import SpoolKeeper
from schemas.codec import decode, encode
from schemas.errors import Refused, ServiceAway
from schemas.settings import KafkaSettings
from schemas.telemetry import Noticed, Stage
from schemas.topics import FRAMES, MANIFESTS, Topic

LOOK_EVERY_S = 0.05


class RecordPublisher:
    """Publishes messages of one plant. Use as an async context manager; it starts without a broker, too.

    `budget_bytes` bounds what may wait of droppable records in memory. The publisher closes `spool` when it ends.
    """

    def __init__(
        self, *, plant: str, stage: Stage, kafka: KafkaSettings, budget_bytes: int, spool: Spool | None = None
    ) -> None:
        self._plant = plant
        self._stage = stage
        self._budget_bytes = budget_bytes
        self._unsent = stage.budget("unsent", limit_bytes=budget_bytes) if budget_bytes else None
        self._untold = 0  # records whose fate was not told yet; the loop's thread alone knows
        self._spool = spool
        self._outbox = Outbox(budget_bytes=budget_bytes, spool=spool)
        self._closed = False
        self._sender = Sender(
            plant=plant,
            stage=stage,
            kafka=kafka,
            outbox=self._outbox,
            acknowledged=lambda item: self._tell(self._acknowledged, item),
            failed=lambda error: self._tell(self._fail, error),
        )
        self._keeper: SpoolKeeper | None = None
        if spool is not None:
            self._spool_out = stage.counter("spool_out", "Records of the spool that the broker acknowledged.", "topic")
            self._keeper = SpoolKeeper(
                spool=spool,
                outbox=self._outbox,
                stage=stage,
                tell=lambda item, fate: self._tell(self._settle, item, fate),
                submit=lambda manifest, tell: self._tell(
                    partial(self._put, MANIFESTS, manifest.camera, manifest, tell=tell)
                ),
                failed=lambda error: self._tell(self._fail, error),
            )

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._settled = asyncio.Event()
        self._fatal: asyncio.Future[None] = self._loop.create_future()
        if self._keeper is not None:
            self._keeper.start()
        self._sender.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._sender.stop)
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.finish)
        await asyncio.sleep(0)  # fates that the threads have handed over already
        left = self._outbox.left()
        for item in left:
            if not item.droppable and item.topic is not FRAMES:  # those of a feed: it says so itself
                self._not_kept(item)
            self._settle(item, Fate.DROPPED if item.droppable and item.attempt == 0 else Fate.UNKNOWN)
        if self._spool is not None:
            self._spool.close()
        self._closed = True
        self._settled.set()
        self._fatal.cancel()

    @property
    def connected(self) -> bool:
        """Whether the broker takes records."""
        return self._sender.connected

    @property
    def keeps(self) -> bool:
        """Whether records survive the end of this process with the broker away."""
        return self._spool is not None

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
        """Takes a record over and calls `tell` with its fate, once. Call it on the loop's thread.

        Order is kept per key, but for frames beside a long backlog on disk. Droppable records are given up, oldest first, by the
        bounds of the spool, and without one while more than the budget waits. Others stay on disk without a bound of age, and in memory
        up to `KEPT_BYTES`, where neither broker nor disk takes them: above it the oldest are given up, each noticed as `events_not_kept`.
        """
        self._put(topic, key, message, tell=tell, droppable=droppable, traceparent=traceparent)

    async def publish(self, topic: Topic, key: str, message: Any, *, traceparent: bytes | None = None) -> None:
        """Returns when the broker has acknowledged the record. Raises `ServiceAway` where the publisher was closed before."""
        item, fate = await self._until_told(topic, key, message, traceparent=traceparent)
        number = item.number
        if fate is Fate.SPOOLED and self._spool is not None and number is not None:
            await self._sent_to(number + 1)
        elif fate is not Fate.ACKNOWLEDGED:
            raise ServiceAway(f"{topic.on(self._plant)}: not acknowledged before the gateway stopped")

    async def keep(self, topic: Topic, key: str, message: Any) -> None:
        """Returns when the record is safe: acknowledged by the broker, or on this machine's disk, from where it is sent.

        Raises `ServiceAway` where the publisher was closed before.
        """
        _, fate = await self._until_told(topic, key, message)
        if fate not in (Fate.ACKNOWLEDGED, Fate.SPOOLED):
            raise ServiceAway(f"{topic.on(self._plant)}: neither acknowledged nor on disk before the gateway stopped")

    def left_over(self, topic: Topic) -> list[Any]:
        """Messages for `topic` that a former life left on disk, in order, droppable ones excepted. For use before it is entered."""
        records = [] if self._spool is None else self._spool.kept.waiting()
        return [message for record in records if (message := _message(topic, record)) is not None]

    async def left_over_sent(self) -> None:
        """Returns when the broker has what a former life left on disk, droppable records excepted."""
        if self._spool is not None:
            await self._sent_to(self._spool.left_over_to)

    async def failed(self) -> None:
        """Raises `Fatal` once repeating is useless: not authorised, or larger than the topic allows."""
        await asyncio.shield(self._fatal)

    async def room(self) -> None:
        """Returns when at most half of the budget is taken: for whoever would rather wait than lose a record."""
        while self._outbox.bytes > self._budget_bytes // 2:
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

    def _put(
        self,
        topic: Topic,
        key: str,
        message: Any,
        *,
        tell: Callable[[Fate], None] = lambda _fate: None,
        droppable: bool = False,
        traceparent: bytes | None = None,
    ) -> Item:
        encoded = encode(topic, message, traceparent=traceparent)
        self._untold += 1
        item = Item(topic, key.encode(), encoded.value, encoded.headers, droppable, tell, time.time_ns())
        with self._outbox.condition:
            dropped = self._outbox.put(item)
            self._outbox.condition.notify_all()
        for old in dropped:
            if not old.droppable:
                self._not_kept(old)
            self._settle(old, Fate.DROPPED)
        self._show_bytes()
        return item

    async def _until_told(
        self, topic: Topic, key: str, message: Any, *, traceparent: bytes | None = None
    ) -> tuple[Item, Fate]:
        told: asyncio.Future[Fate] = self._loop.create_future()
        item = self._put(
            topic,
            key,
            message,
            tell=lambda fate: None if told.done() else told.set_result(fate),
            traceparent=traceparent,
        )
        return item, await told

    async def _sent_to(self, number: int) -> None:
        """Returns when the broker has all kept records of the spool below `number`."""
        assert self._spool is not None
        while self._spool.kept.acknowledged < number:
            if self._closed:
                raise ServiceAway("not acknowledged before the gateway stopped")
            await asyncio.sleep(LOOK_EVERY_S)

    def _acknowledged(self, item: Item) -> None:
        self._stage.produced.labels(item.topic.name).inc()
        if item.number is not None:
            self._spool_out.labels(item.topic.name).inc()
        self._settle(item, Fate.ACKNOWLEDGED)

    def _settle(self, item: Item, fate: Fate) -> None:
        self._settled.set()
        self._show_bytes()
        if item.settled:
            return
        item.settled = True
        self._untold -= 1
        item.tell(fate)

    def _not_kept(self, item: Item) -> None:
        """An event is not dropped silently: each is counted, and the count is a critical alert."""
        subject = f"{item.topic.name}/{item.key.decode()}"
        self._stage.emit(Noticed(what="events_not_kept", subject=subject, detail=f"{item.size_bytes} bytes"))

    def _fail(self, error: Exception) -> None:
        if not self._fatal.done():
            self._fatal.set_exception(error)

    def _show_bytes(self) -> None:
        self._stage.in_progress_bytes.set(self._outbox.bytes)
        if self._unsent is not None:
            self._unsent.set(self._outbox.bytes)

    def _tell(self, what: Any, *arguments: Any) -> None:
        """For other threads."""
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:
            # the loop has closed: nobody is left to be told
            pass


def _message(topic: Topic, record: Record) -> Any:
    """What `record` says, if it is for `topic` and this version can read it."""
    if record.envelope.topic != topic.name:
        return None
    try:
        return decode(topic, record.value, record.envelope.headers)
    except Refused:
        return None
