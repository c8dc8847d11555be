"""The line runner: records in, a handler, messages out, and commits that never pass unfinished work.

Fetch -> byte budget -> handler -> produce, acknowledged -> commit of the finished prefix. For the stages on the path with
a deadline: inspect, judge, statistics.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from schemas.closing import close
from schemas.codec import decode
from schemas.errors import ConfigurationError, Fatal, Refused, StageFailed
from schemas.patience import pause_s, wait_at_most
from schemas.plant import Plant
from schemas.settings import BudgetSettings, KafkaSettings, StageSettings
from schemas.telemetry import AttemptRepeated, Stage
from schemas.topics import MIB_BYTES, Topic
from topologies.background import Background, until_one_ends
from topologies.batches import BATCHED_PER_TURN, RECORDS_PER_FETCH, BatchHandler, hand_over
from topologies.contact import Contact
from topologies.dead_letters import dead_letter, refuse
from topologies.holdings import COPIES, Holdings
from topologies.membership import Ownership, check_co_partitioned, fetched_bytes, new_consumer
from topologies.producer import Outgoing, Producer
from topologies.records import Handler, Record, fetched_record, size_bytes
from topologies.standstill import ASK_AGAIN_S, Standstill, is_member

__all__ = ["Handler", "LineRunner", "Outgoing", "Producer", "Record", "dead_letter", "refuse"]

RESUME_RATIO = 0.75  # well below the budget, so that partitions do not flap
TICK_MS = 20
POLL_MS = 100
POLL_PAUSED_S = 30.0  # well within max.poll.interval.ms
RECORDS_PER_TURN = 64  # a tick waits for at most one turn
COMMIT_EVERY_S = 0.2
CONTACT_EVERY_S = 2.0
CONTACT_TIMEOUT_S = 5.0
DRAIN_S = 4.0
LAST_COMMIT_S = 1.5


class LineRunner:
    """Drives one handler over co-partitioned topics.

    `ready` says whether the handler's own services are there; the stage is ready when it has partitions, a broker and these.
    Over `budget_bytes` (`LINESIGHT_BUDGET_HELD_MIB`) of unfinished records all partitions are paused until three quarters of it
    are reached. `batches`: nobody waits for this stage, so its handler takes records by the batch, at most 0.1 s later.
    """

    def __init__(
        self,
        *,
        plant: Plant,
        stage: Stage,
        topics: Sequence[Topic],
        handler: Handler,
        kafka: KafkaSettings | None = None,
        budget_bytes: int | None = None,
        tick_ms: int = TICK_MS,
        batches: BatchHandler | None = None,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._plant = plant.plant
        self._stage = stage
        self._topics = {topic.on(plant.plant): topic for topic in topics}
        self._handler = handler
        self._kafka = kafka or KafkaSettings()
        self._instance = f"{plant.plant}.{stage.name}.{StageSettings().instance}"
        budgets = BudgetSettings()
        self._budget_bytes = budget_bytes or budgets.held_bytes
        self._fetched_bytes = budgets.fetched_bytes
        self._partitions = plant.kafka.partitions * len(topics)
        self._fetched = stage.budget("fetched", limit_bytes=budgets.fetched_bytes)
        self._tick_s = tick_ms / 1000
        self._batches = batches
        self._most_records = RECORDS_PER_FETCH if batches else RECORDS_PER_TURN
        self._services_ready = ready

        self._turn = asyncio.Lock()  # one method of the handler at a time
        self._revoking = asyncio.Lock()
        self._refusals: Background
        self._producer: Producer
        self._consumer: AIOKafkaConsumer
        self._holdings: Holdings | None = None
        self._assigned: asyncio.Future[frozenset[int]]
        self._generation = 0  # of our ownership; each revocation ends one
        self._paused = False
        self._flowing = asyncio.Event()  # not paused
        self._record_bytes = MIB_BYTES  # what a record takes, as seen in the last turn
        self._in_contact = False
        self._standstill = Standstill()
        self._at = "nothing"  # what the handler works on, for the message of a fatal error

    async def run(self, stop: asyncio.Event) -> None:
        """Returns when `stop` is set and everything is drained, within 10 s. Raises StageFailed when the handler fails."""
        self._assigned = asyncio.get_running_loop().create_future()
        self._refusals = Background()
        work = asyncio.create_task(self._work())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._revoked()
        finally:
            stopping.cancel()
            work.cancel()
            await asyncio.wait({work})
            self._stage.ready = False
        if not work.cancelled():
            work.result()

    async def _work(self) -> None:
        async with Producer(plant=self._plant, stage=self._stage, kafka=self._kafka) as producer:
            self._producer = producer
            try:
                await until_one_ends(self._sessions(), self._ticks(), self._failures())
            except (Fatal, asyncio.CancelledError):
                raise
            except Exception as error:
                self._stage.log.error("handler_failed", at=self._at, exc_info=error)
                raise StageFailed(
                    f"{self._stage.name} stopped at {self._at}: {error!r}. Nothing of it is committed; it is read again at the next start"
                ) from error
            finally:
                await self._refusals.cancel()

    async def _sessions(self) -> None:
        """One consumer after the other: a client that broke down for good is replaced."""
        attempt = 0
        while True:
            try:
                await self._session()
            except (GroupAuthorizationFailedError, TopicAuthorizationFailedError) as error:
                raise ConfigurationError(
                    f"the broker refuses us: {error}; check KAFKA_SASL_* and the topics' ACLs"
                ) from error
            except UnknownTopicOrPartitionError as error:
                raise ConfigurationError(
                    f"topics are missing on the broker: {error}; create them with: linesight topics --create"
                ) from error
            except KafkaError as error:
                attempt += 1
                self._say_broker(f"consumer: {error!r}", attempt)
                await asyncio.sleep(pause_s(attempt))

    async def _session(self) -> None:
        names = list(self._topics)
        self._consumer = new_consumer(
            kafka=self._kafka,
            group=f"{self._plant}.{self._stage.name}",
            instance=self._instance,
            topics=names,
            partitions=self._partitions,
            fetched_bytes=self._fetched_bytes,
            listener=Ownership(topics=names, on_assigned=self._note_assigned, on_revoked=self._revoked),
            gathers=self._batches is not None,
        )
        try:
            await self._consumer.start()
            check_co_partitioned(self._consumer, names)
            await until_one_ends(self._intake(), self._commits())
        except KafkaError:
            await self._revoked()
            raise
        finally:
            await close(self._consumer)

    # --- ownership ---------------------------------------------------------------------------------------------------

    def _note_assigned(self, partitions: frozenset[int]) -> None:
        if not self._assigned.done():
            self._assigned.set_result(partitions)

    async def _take_over(self) -> None:
        """Returns when the partitions are ours and the handler knows."""
        while self._holdings is None:
            partitions = await asyncio.shield(assigned := self._assigned)
            async with self._turn:
                if assigned is not self._assigned:
                    continue  # revoked again before we came to it
                self._holdings = Holdings(
                    partitions=partitions,
                    stage=self._stage,
                    limit_bytes=self._budget_bytes,
                    on_less=self._on_less,
                )
                self._paused, self._in_contact = False, True
                self._standstill.forget()
                self._flowing.set()
                if partitions:
                    self._at = f"assignment of partitions {sorted(partitions)}"
                    await self._handler.assigned(partitions, self._producer)

    async def _revoked(self) -> None:
        """Stop intake, drain with a deadline, commit. The client waits for it before it gives the partitions up."""
        async with self._revoking:
            self._generation += 1
            if self._assigned.done():
                self._assigned = asyncio.get_running_loop().create_future()
            holdings, self._holdings = self._holdings, None
            self._flowing.set()
            self._stage.ready = False
            if holdings is not None:
                await self._drain(holdings)
                holdings.close()

    async def _is_ours(self) -> bool:
        """Whether the handler may go on. After a standstill that is the group's to say; once it says no, until the next assignment."""
        if not self._standstill.noticed():
            return True
        if self._holdings is not None:
            self._stage.log.warning("stood_still")
        while self._holdings is not None:
            if await is_member(self._consumer):
                self._standstill.forget()
                return self._holdings is not None  # it may have been revoked while we asked
            await asyncio.sleep(ASK_AGAIN_S)
        return False

    async def _drain(self, holdings: Holdings) -> None:
        try:
            async with asyncio.timeout(DRAIN_S):
                async with self._turn:
                    if holdings.partitions:
                        await self._handler.drain(holdings.partitions)
                await self._refusals.settled()
        except TimeoutError:
            self._stage.log.warning("drain_cut_short", held_bytes=holdings.held_bytes)
        except Exception as error:
            self._refusals.fail(error)
            return
        try:
            async with asyncio.timeout(LAST_COMMIT_S):
                await self._commit(holdings)
        except (TimeoutError, KafkaError) as error:
            # what was finished and not committed is repeated by the next owner, with the same ids
            self._say_broker(f"commit before giving partitions up: {error!r}", 1)

    # --- records in --------------------------------------------------------------------------------------------------

    async def _intake(self) -> None:
        while True:
            await self._take_over()
            await self._wait_while_paused()
            batches = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=self._records_per_turn())
            generation = self._generation  # of what getmany returns: there is no pause in between
            await self._take_over()
            if self._batches is not None:
                for place, found in batches.items():
                    await self._take_batches(self._batches, place, found, generation)
            else:
                async with self._turn:
                    for place, found in batches.items():
                        for raw in found:
                            if not await self._is_ours() or generation != self._generation:
                                break  # revoked meanwhile: the next owner reads them
                            await self._take(place, raw)
            self._fetched.set(fetched_bytes(self._consumer))
            sizes = [len(raw.value or b"") for found in batches.values() for raw in found]
            if sizes:
                self._record_bytes = COPIES * max(sizes)
            self._hold_back()

    async def _take(self, place: TopicPartition, raw: Any) -> None:
        holdings, topic = self._holdings, self._topics[place.topic]
        assert holdings is not None
        self._at = f"{topic.name}/{place.partition}/{raw.offset}"
        self._stage.taken(topic.name, at_ms=raw.timestamp)
        on_finish = holdings.add(place, raw.offset, size_bytes(raw))
        message = refused = None
        try:
            message = decode(topic, raw.value, raw.headers)
        except Refused as error:
            refused = error
        record = fetched_record(topic, place.partition, raw, message=message, on_finish=on_finish)
        if refused is None:
            await self._handler.take(record)
        else:
            self._begin_refusal(record, refused)
            await asyncio.sleep(0)  # it takes its place before the next record does

    async def _take_batches(self, handler: BatchHandler, place: TopicPartition, found: Any, generation: int) -> None:
        topic = self._topics[place.topic]
        for first in range(0, len(found), BATCHED_PER_TURN):
            some = found[first : first + BATCHED_PER_TURN]
            async with self._turn:
                if not await self._is_ours() or generation != self._generation or self._holdings is None:
                    return  # revoked meanwhile: the next owner reads them
                self._at = f"{topic.name}/{place.partition}/{some[0].offset}"
                self._stage.taken(topic.name, at_ms=some[-1].timestamp, count=len(some))
                await hand_over(
                    some, handler, topic=topic, place=place, holdings=self._holdings, refuse=self._begin_refusal
                )
            await asyncio.sleep(0)  # the client goes on

    def _begin_refusal(self, record: Record, refused: Refused) -> None:
        self._refusals.spawn(self._refuse(record, refused))

    async def _refuse(self, record: Record, refused: Refused) -> None:
        extra = await self._handler.refused(record, refused)
        await refuse(record, refused, stage=self._stage, producer=self._producer, also=extra)
        record.finish()

    def _records_per_turn(self) -> int:
        """As many as there is room for: a turn of large records must not go far over the budget."""
        room_bytes = self._budget_bytes - (self._holdings.held_bytes if self._holdings else 0)
        return max(1, min(self._most_records, room_bytes // max(1, self._record_bytes)))

    async def _wait_while_paused(self) -> None:
        """Asked for records of paused partitions, the client throws away what it has fetched of them. Asked for nothing at all,
        the group takes us for dead."""
        if self._flowing.is_set():
            return
        await wait_at_most(POLL_PAUSED_S, self._flowing)

    def _hold_back(self) -> None:
        """Pauses all partitions over the budget."""
        if self._paused or self._holdings is None or self._holdings.held_bytes <= self._budget_bytes:
            return
        try:
            self._consumer.pause(*self._consumer.assignment())
        except IllegalStateError:
            return  # in the middle of a rebalance
        self._paused = True
        self._flowing.clear()

    def _on_less(self) -> None:
        holdings = self._holdings
        if not self._paused or holdings is None or holdings.held_bytes > self._budget_bytes * RESUME_RATIO:
            return
        self._paused = False
        self._flowing.set()
        self._consumer.resume(*self._consumer.paused())

    # --- beside it ---------------------------------------------------------------------------------------------------

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            async with self._turn:
                if await self._is_ours():
                    await self._handler.tick(time.time_ns())
            self._stage.ready = self._holdings is not None and self._in_contact and self._services_ready()

    async def _failures(self) -> None:
        await asyncio.shield(self._refusals.failed)

    async def _commits(self) -> None:
        """Commits at intervals, or asks whether the broker is there. Raises KafkaConnectionError where only our client does not find it."""
        attempt, last_contact, contact = 0, time.monotonic(), Contact(self._kafka)
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            holdings, places = self._holdings, self._consumer.assignment()
            if holdings is None or not places:
                continue
            try:
                async with asyncio.timeout(CONTACT_TIMEOUT_S):
                    if not await self._commit(holdings):
                        if time.monotonic() - last_contact < CONTACT_EVERY_S:
                            continue
                        await self._consumer.committed(min(places))
            except (CommitFailedError, IllegalStateError):
                continue  # a rebalance is under way
            except (TimeoutError, KafkaError) as error:
                attempt += 1
                self._in_contact = False
                self._say_broker(f"commit: {error!r}", attempt)
                await contact.failed(error)
                continue
            attempt, last_contact, self._in_contact = 0, time.monotonic(), True
            contact.made()

    async def _commit(self, holdings: Holdings) -> bool:
        """Commits the finished prefix of every partition; returns whether there was anything to commit."""
        offsets = holdings.committable()
        if not offsets:
            return False
        await self._consumer.commit(offsets)
        holdings.committed(offsets)
        return True

    def _say_broker(self, detail: str, attempt: int) -> None:
        self._stage.emit(AttemptRepeated(service="broker", detail=detail, attempt=attempt))
