"""One receiver's reader of a topic: it has a group of its own, so no receiver waits for another and the line for none.

Every record is delivered at least once, in order. What is not taken is tried again with growing pauses, `max_tries` times in all; then
the record becomes a dead letter, and the next one is delivered. To a receiver that shows a state the newest record is all that matters: it
is tried until it is in effect, or until a newer one is there.

When another process of the stage comes or goes, what is under way has a moment to finish; then it is let go of unfinished, and whoever
has the partition next delivers it. So nothing comes from here after newer ones came from there, and nothing of it is refused twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.closing import close
from schemas.codec import decode
from schemas.errors import Refused, Transient
from schemas.patience import pause_s
from schemas.reasons import RefusalReason
from schemas.settings import BudgetSettings, KafkaSettings, StageSettings
from schemas.telemetry import AttemptRepeated, RecordRefused, Stage
from schemas.topics import Topic
from topologies.dead_letters import dead_letter, record_of
from topologies.membership import Ownership, new_consumer
from topologies.producer import Producer

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
POLL_MS = 500
STATE_POLL_MS = 200
DRAIN_S = 2.5
COMMIT_EVERY = 500
"""Records that need no delivery are committed together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How a receiver takes messages. `name` is for the group and the dead letters' ids, `host` is told in logs.

    `concerns` says whether a message is for it. `deliver` returns when it has taken one, and raises `Transient` or `Refused`.
    `count` is told `delivered`, `refused` or, of a state, `superseded`. `in_effect` makes it a state: it is asked after each delivery,
    returns when the state is shown, and raises the same; there `max_tries` means nothing.
    """

    name: str
    host: str
    max_tries: int
    concerns: Callable[[Any], bool]
    deliver: Callable[[Any], Awaitable[None]]
    count: Callable[[str], None]
    in_effect: Callable[[Any], Awaitable[None]] | None = None


class ReceiverReader:
    """Reads `topic` for one receiver until it is cancelled."""

    def __init__(
        self,
        *,
        delivery: Delivery,
        topic: Topic,
        plant: str,
        partitions: int,
        stage: Stage,
        kafka: KafkaSettings,
        producer: Producer,
        begins_ms: int,
    ) -> None:
        """`begins_ms`: from when on a receiver that is new gets messages, ms since the epoch."""
        self._delivery = delivery
        self._source = topic
        self._topic = topic.on(plant)
        self._partitions = partitions
        self._stage = stage
        self._kafka = kafka
        self._producer = producer
        self._group = f"{plant}.{stage.name}.{delivery.name}"
        self._begins_ms = begins_ms
        self._owned = asyncio.Event()
        self._begun = set[TopicPartition]()  # ours, with an offset of this group
        self._under_way: asyncio.Task[bool] | None = None

    async def run(self) -> None:
        """One consumer after the other: a client that broke down for good is replaced."""
        attempt = 0
        while True:
            try:
                await self._session_with_broker()
            except KafkaError as error:
                attempt += 1
                self._stage.emit(
                    AttemptRepeated(service="broker", detail=f"{self._delivery.name}: {error!r}", attempt=attempt)
                )
                await asyncio.sleep(pause_s(attempt))

    async def _session_with_broker(self) -> None:
        self._owned.clear()
        self._begun = set()

        async def revoked() -> None:
            await self._note_revoked(consumer)

        consumer = new_consumer(
            kafka=self._kafka,
            group=self._group,
            instance=f"{self._group}.{StageSettings().instance}",
            topics=[self._topic],
            partitions=self._partitions,
            fetched_bytes=BudgetSettings().fetched_bytes,
            listener=Ownership(topics=[self._topic], on_assigned=self._note_assigned, on_revoked=revoked),
        )
        try:
            await consumer.start()
            uncommitted = 0
            while True:
                await self._owned.wait()
                if self._begun != consumer.assignment():
                    places = set(consumer.assignment())
                    await self._begin(consumer, places)
                    self._begun = places
                # one by one: a delivery may take long, and what was handed out is not handed out again
                batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=1)
                for raw in (raw for records in batches.values() for raw in records):
                    if (
                        self._owned.is_set()
                    ):  # else it was handed out while they were asked back: the next owner reads it again
                        uncommitted += COMMIT_EVERY if await self._handled_while_ours(raw, consumer) else 1
                if not self._owned.is_set():
                    uncommitted = 0  # what is finished was committed when they were asked back
                elif uncommitted >= COMMIT_EVERY or (uncommitted and not batches):
                    await consumer.commit()
                    uncommitted = 0
        finally:
            await close(consumer)

    def _note_assigned(self, partitions: frozenset[int]) -> None:
        self._owned.set()

    async def _note_revoked(self, consumer: AIOKafkaConsumer) -> None:
        """Commits what is finished, or is within `DRAIN_S`. The client waits for it before it gives the partitions up."""
        self._owned.clear()
        begun, self._begun = self._begun, set()
        # where a new receiver has not begun yet, the position is the oldest record
        if await self._settled() and begun and begun == consumer.assignment():
            try:
                async with asyncio.timeout(DRAIN_S):
                    await consumer.commit()
            except (KafkaError, TimeoutError) as error:  # then the next owner delivers it once more
                self._stage.emit(AttemptRepeated(service="broker", detail=f"{self._delivery.name}: {error!r}"))

    async def _settled(self) -> bool:
        """Ends what is under way; whether everything that was handed out is finished."""
        under_way = self._under_way
        if under_way is None:
            return True
        await asyncio.wait({under_way}, timeout=DRAIN_S)
        under_way.cancel()
        await asyncio.wait({under_way})
        return not under_way.cancelled() and under_way.exception() is None

    async def _begin(self, consumer: AIOKafkaConsumer, places: set[TopicPartition]) -> None:
        """A receiver that is new gets what happens from now on, not the alerts of the last months."""
        for place in places:
            if await consumer.committed(place) is not None:
                continue
            # the end is asked for first: what comes between the two questions is found by the second one
            end = (await consumer.end_offsets([place]))[place]
            found = (await consumer.offsets_for_times({place: self._begins_ms}))[place]
            offset = found.offset if found is not None else end
            consumer.seek(place, offset)
            await consumer.commit({place: offset})

    async def _handled_while_ours(self, raw: Any, consumer: AIOKafkaConsumer) -> bool:
        """As `_handled`; False for a record that was let go of unfinished."""
        self._under_way = asyncio.create_task(self._handled(raw, consumer))
        try:
            await asyncio.wait({self._under_way})
            return not self._under_way.cancelled() and self._under_way.result()
        finally:
            under_way, self._under_way = self._under_way, None
            if under_way.cancel():
                await asyncio.wait({under_way})

    async def _handled(self, raw: Any, consumer: AIOKafkaConsumer) -> bool:
        """Whether the record was for this receiver: then it is finished now, one way or the other, with those that replaced it."""
        is_ours, newer = await self._finished(raw, consumer)
        while newer is not None:
            _, newer = await self._finished(newer, consumer)
        return is_ours

    async def _finished(self, raw: Any, consumer: AIOKafkaConsumer) -> tuple[bool, Any | None]:
        """Whether the record was for this receiver, and the record that replaced it, if one did."""
        outcome, newer = "delivered", None
        try:
            message = decode(self._source, raw.value, tuple(raw.headers))
            if not self._delivery.concerns(message):
                return False, None
            if self._delivery.in_effect is None:
                await self._deliver(message)
            else:
                outcome, newer = await self._show(message, self._delivery.in_effect, consumer)
        except Refused as refused:
            await self._give_up(raw, refused)
            outcome = "refused"
        self._delivery.count(outcome)
        return True, newer

    async def _show(
        self, message: Any, in_effect: Callable[[Any], Awaitable[None]], consumer: AIOKafkaConsumer
    ) -> tuple[str, Any | None]:
        """Returns when the state is shown, or with the record of a newer one. Raises `Refused` when it never will be."""
        attempt = 0
        while True:
            attempt += 1
            await self._delivery.deliver(message)
            effect = asyncio.ensure_future(in_effect(message))
            newer = await self._newer_before(effect, consumer)
            if newer is not None:
                return "superseded", newer
            try:
                if effect.done():
                    await effect
                    return "delivered", None
            except Transient as error:
                detail = f"{self._delivery.host}: {error}"
                self._stage.emit(AttemptRepeated(service="receiver", detail=detail, attempt=attempt))
            pause = asyncio.sleep(pause_s(attempt, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S))
            newer = await self._newer_before(asyncio.ensure_future(pause), consumer)
            if newer is not None:
                return "superseded", newer

    async def _newer_before(self, waited_for: asyncio.Future[Any], consumer: AIOKafkaConsumer) -> Any | None:
        """The next record for this receiver, if it comes before `waited_for` is done; else nothing, and that is left as it is."""
        try:
            while not waited_for.done():
                batches = await consumer.getmany(timeout_ms=STATE_POLL_MS, max_records=1)
                for raw in (raw for records in batches.values() for raw in records):
                    try:
                        if self._delivery.concerns(decode(self._source, raw.value, tuple(raw.headers))):
                            return raw
                    except Refused as refused:
                        await self._give_up(raw, refused)
                        self._delivery.count("refused")
            return None
        finally:
            if not waited_for.done():
                waited_for.cancel()
            waited_for.add_done_callback(lambda done: done.cancelled() or done.exception())  # never "not retrieved"

    async def _deliver(self, message: Any) -> None:
        """Returns when the receiver has taken it. Raises `Refused` when it never will, or did not in `max_tries`."""
        host, attempt = self._delivery.host, 0
        while True:
            attempt += 1
            try:
                await self._delivery.deliver(message)
                return
            except Transient as error:
                if attempt >= self._delivery.max_tries:
                    raise Refused(RefusalReason.RECEIVER_REFUSED, f"{host}: {error}, tried {attempt} times") from error
                self._stage.emit(AttemptRepeated(service="receiver", detail=f"{host}: {error}", attempt=attempt))
            await asyncio.sleep(pause_s(attempt, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S))

    async def _give_up(self, raw: Any, refused: Refused) -> None:
        record = record_of(self._source, raw)
        outgoing = dead_letter(record, refused, stage=self._stage, now_ns=time.time_ns())
        # two receivers may refuse the same record: each has a dead letter of its own
        letter = msgspec.structs.replace(outgoing.message, id=f"{outgoing.message.id}/{self._delivery.name}")
        await self._producer.send([replace(outgoing, message=letter)])
        self._stage.emit(
            RecordRefused(
                reason=refused.reason.value,
                detail=refused.detail,
                topic=self._source.name,
                partition=raw.partition,
                offset=raw.offset,
            )
        )
