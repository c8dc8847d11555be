"""Takes commands from Kafka, has each delivered to its station's mailbox, and commits once its result is durable.

Within a station one command is finished before the next begins. Stations do not wait for each other, but that one whose queue is full
(`WAITING_COMMANDS`) holds up its partition. What had a result before a restart is not delivered again.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from gateways.command_checks import check_fits
from gateways.command_mailbox import CommandMailbox
from gateways.lifetime import together
from gateways.publisher import RecordPublisher
from gateways.station_queues import StationQueues
from gateways.topic_tail import read_tail
from schemas.closing import close
from schemas.codec import decode, traceparent_of
from schemas.commands import Command, CommandResult
from schemas.commits import FinishedPrefix
from schemas.errors import Refused
from schemas.patience import patiently
from schemas.plant import Plant
from schemas.reasons import CommandKind, CommandOutcome, RefusalReason
from schemas.records import AuditEvent, DeadLetter
from schemas.settings import KafkaSettings, StageSettings
from schemas.telemetry import AttemptRepeated, Noticed, RecordRefused, Stage
from schemas.topics import AUDIT, COMMAND_RESULTS, COMMANDS, DEAD_LETTERS

WAITING_COMMANDS = 256
REMEMBERED_RESULTS = 16_384
FETCH_MS = 100
COMMIT_EVERY_S = 0.2
FIRST_REACHED_S = 10.0
FINISH_S = 2.0
COMMIT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """A command with the record that brought it."""

    command: Command
    record: ConsumerRecord[Any, Any]
    prefix: FinishedPrefix
    began_s: float


class CommandIntake(ConsumerRebalanceListener):
    """The consumer of `commands` for all stations that have a mailbox. `told` gets each result, once it is durable."""

    def __init__(
        self,
        *,
        plant: Plant,
        mailboxes: Mapping[str, CommandMailbox],
        told: Callable[[CommandResult], None],
        publisher: RecordPublisher,
        stage: Stage,
        kafka: KafkaSettings,
    ) -> None:
        self._plant = plant
        self._mailboxes = mailboxes
        self._told = told
        self._publisher = publisher
        self._stage = stage
        self._kafka = kafka
        self._orders: StationQueues[_Order] = StationQueues(mailboxes, length=WAITING_COMMANDS)
        self._held: dict[int, FinishedPrefix] = {}
        self._committed: dict[int, int] = {}
        self._to_learn: set[int] = set()
        self._answered: OrderedDict[str, None] = OrderedDict()
        self._results = stage.counter("commands", "Commands by what became of them.", "outcome")
        for outcome in CommandOutcome:
            self._results.labels(outcome)
        self._trigger_to_acknowledgement = stage.histogram(
            "trigger_to_acknowledgement_seconds",
            "From the part's arrival (broker's time) to the PLC's echo of its verdict, where it took it.",
        )
        self._stopping = False
        self._working: set[str] = set()
        self._at_rest = asyncio.Event()
        self._at_rest.set()

    @property
    def assigned(self) -> bool:
        """Whether commands of some partition come here."""
        return bool(self._held)

    async def run(self) -> None:
        """Works until cancelled; then finishes the commands under way, within two seconds, and commits."""
        consumer = await patiently(self._connect, stage=self._stage, service="broker", away=KafkaError)
        workers = asyncio.create_task(
            together(*(self._work(station) for station in self._mailboxes), self._commit_regularly(consumer))
        )
        taking = asyncio.create_task(self._take_all(consumer))
        try:
            await asyncio.wait((workers, taking), return_when=asyncio.FIRST_COMPLETED)
            for task in (workers, taking):
                if task.done():
                    await task
        finally:
            self._stopping = True
            taking.cancel()
            await self._finish_work()
            workers.cancel()
            await asyncio.gather(workers, taking, return_exceptions=True)
            await self._close(consumer)

    # --- taking ------------------------------------------------------------------------------------------------------

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Called by the consumer: these partitions are ours from now on."""
        for place in assigned:
            self._held[place.partition] = FinishedPrefix()
            self._committed.pop(place.partition, None)
        self._to_learn |= {place.partition for place in assigned}

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Called by the consumer: what is still waiting of these partitions is somebody else's."""
        for place in revoked:
            self._held.pop(place.partition, None)

    async def _connect(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **self._kafka.client(),
            group_id=f"{self._plant.plant}.{self._stage.name}",
            group_instance_id=f"{self._plant.plant}.{self._stage.name}.{StageSettings().instance}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        try:
            await consumer.start()
        except BaseException:
            await close(consumer)
            raise
        consumer.subscribe([COMMANDS.on(self._plant.plant)], listener=self)
        return consumer

    async def _take_all(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            self._orders.place()
            fetch = partial(self._fetch, consumer)
            batches = await patiently(fetch, stage=self._stage, service="broker", away=KafkaError)
            held = dict(self._held)
            # by itself: what was fetched is not fetched again, and would be lost with a failure here
            await patiently(self._learn, stage=self._stage, service="broker")
            for records in batches.values():
                for record in records:
                    await self._take(record, held.get(record.partition))

    async def _fetch(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, list[ConsumerRecord[Any, Any]]]:
        """What came, but of partitions that are held up: there it waits in Kafka."""
        behind = self._orders.behind
        free = [place for place in consumer.assignment() if place.partition not in behind]
        if behind and not free:
            await asyncio.sleep(FETCH_MS / 1000)
            return {}
        found: dict[TopicPartition, list[ConsumerRecord[Any, Any]]] = await consumer.getmany(
            *(free if behind else ()), timeout_ms=FETCH_MS
        )
        return found

    async def _learn(self) -> None:
        """Reads which commands of newly assigned partitions have their result already; before any of them is delivered."""
        while self._to_learn:
            partitions = set(self._to_learn)
            results = await read_tail(
                COMMAND_RESULTS, plant=self._plant.plant, kafka=self._kafka, partitions=partitions
            )
            for result in results:
                self._remember(result.id)
                if result.station in self._mailboxes:
                    self._mailboxes[result.station].recall(result)
            self._to_learn -= partitions

    async def _take(self, record: ConsumerRecord[Any, Any], prefix: FinishedPrefix | None) -> None:
        if prefix is None or self._held.get(record.partition) is not prefix:
            return  # revoked while it waited: its next owner, who may be us, reads it again
        prefix.take(record.offset)
        self._stage.taken(COMMANDS.name, at_ms=record.timestamp)
        began_s = time.monotonic()
        try:
            command = self._decode(record)
        except Refused as refused:
            await self._refuse(record, refused)
            prefix.finish(record.offset)
            self._stage.finished(seconds=time.monotonic() - began_s)
            return
        order = _Order(command=command, record=record, prefix=prefix, began_s=began_s)
        self._orders.put(command.station, order, partition=record.partition)

    def _decode(self, record: ConsumerRecord[Any, Any]) -> Command:
        command: Command = decode(COMMANDS, record.value, record.headers)
        if command.station not in self._mailboxes:
            raise Refused(
                RefusalReason.UNKNOWN_STATION,
                f"`{command.station}` is no station with a PLC; expected one of {', '.join(self._mailboxes) or 'none'}",
            )
        check_fits(command)
        return command

    # --- working -----------------------------------------------------------------------------------------------------

    async def _work(self, station: str) -> None:
        await self._mailboxes[station].reached(within_s=FIRST_REACHED_S)
        while True:
            order = await self._orders.next(station)
            if self._stopping:
                continue  # it is read again after the restart
            self._working.add(station)
            self._at_rest.clear()
            try:
                if self._held.get(order.record.partition) is order.prefix:
                    await self._carry_out(station, order)
            finally:
                self._working.discard(station)
                if not self._working:
                    self._at_rest.set()
                self._stage.finished(seconds=time.monotonic() - order.began_s)

    async def _carry_out(self, station: str, order: _Order) -> None:
        if order.command.id in self._answered:
            self._stage.emit(Noticed(what="duplicate", subject=order.command.id))
        else:
            result = await self._mailboxes[station].deliver(order.command)
            await self._publish(result, order.record)
            self._remember(result.id)
            self._count(result)
            self._told(result)
        order.prefix.finish(order.record.offset)

    def _count(self, result: CommandResult) -> None:
        self._results.labels(result.outcome).inc()
        if result.outcome is CommandOutcome.ACKNOWLEDGED and result.arrived_at_ns:
            took_ns = max(0, result.acknowledged_at_ns - result.arrived_at_ns)
            self._trigger_to_acknowledgement.observe(took_ns / 1_000_000_000)

    async def _publish(self, result: CommandResult, record: ConsumerRecord[Any, Any]) -> None:
        actor = self._stage.name
        audit = AuditEvent(
            id=f"{actor}/command/{result.id}/{result.finished_at_ns}",
            actor=actor,
            action="command",
            subject=result.id,
            at_ns=result.finished_at_ns,
            detail=f"{_asked(result)} to {result.station}: {result.outcome}, sequence {result.sequence} {result.detail}",
        )
        trace = traceparent_of(record.headers)
        await asyncio.gather(
            self._publisher.publish(COMMAND_RESULTS, result.station, result, traceparent=trace),
            self._publisher.publish(AUDIT, actor, audit, traceparent=trace),
        )

    async def _refuse(self, record: ConsumerRecord[Any, Any], refused: Refused) -> None:
        letter = DeadLetter(
            id=f"{COMMANDS.name}/{record.partition}/{record.offset}",
            topic=COMMANDS.name,
            partition=record.partition,
            offset=record.offset,
            stage=self._stage.name,
            reason=refused.reason.value,
            detail=refused.detail,
            refused_at_ns=time.time_ns(),
            key=record.key,
            value=record.value,
            headers=tuple((name, value or b"") for name, value in record.headers),
        )
        await self._publisher.publish(DEAD_LETTERS, COMMANDS.name, letter, traceparent=traceparent_of(record.headers))
        self._stage.emit(
            RecordRefused(
                reason=refused.reason.value,
                detail=refused.detail,
                topic=COMMANDS.name,
                partition=record.partition,
                offset=record.offset,
            )
        )

    def _remember(self, command_id: str) -> None:
        self._answered[command_id] = None
        while len(self._answered) > REMEMBERED_RESULTS:
            self._answered.popitem(last=False)

    # --- committing --------------------------------------------------------------------------------------------------

    async def _commit_regularly(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            await self._commit(consumer)

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        positions = {
            partition: position
            for partition, prefix in self._held.items()
            if (position := prefix.next_offset) is not None and position != self._committed.get(partition)
        }
        if not positions:
            return
        name = COMMANDS.on(self._plant.plant)
        try:
            await consumer.commit({TopicPartition(name, number): position for number, position in positions.items()})
        except KafkaError as error:
            # tried again soon; a restart before that finds the results
            self._stage.emit(AttemptRepeated(service="broker", detail=repr(error)))
        else:
            self._committed.update(positions)

    async def _finish_work(self) -> None:
        """Waits for the commands under way, for a while: what is not finished then is taken up after the restart."""
        try:
            async with asyncio.timeout(FINISH_S):
                await self._at_rest.wait()
        except TimeoutError:
            pass

    async def _close(self, consumer: AIOKafkaConsumer) -> None:
        try:
            async with asyncio.timeout(COMMIT_S):
                await self._commit(consumer)
        except TimeoutError:
            pass  # a restart finds the results
        if not await close(consumer):
            self._stage.emit(Noticed(what="consumer_not_closed", subject=COMMANDS.name))


def _asked(result: CommandResult) -> str:
    """What a command asked for, as an audit entry tells it."""
    if result.kind in (CommandKind.SPEED, CommandKind.PARAMETER):
        return f"{result.kind} {result.parameter} = {result.value:g}".replace("  ", " ")
    return f"{result.kind} on {', '.join(result.signals)}" if result.signals else str(result.kind)
