"""The event runner: the line runner's contract (`records.Handler`) on Faust, for what follows the verdict.

Faust 0.15 does the membership, the fetching and the commits; what it gets wrong is not left to it:

- It acknowledges a message when the agent goes on, and commits past messages in flight. Here agents use `noack`, and only the
  contiguous finished prefix is acknowledged, in its order (`schemas.commits.FinishedPrefix`, as in the line runner).
- It acknowledges and skips a message whose processing raised. Here an error ends the process, and nothing of it is committed.
- It only logs a failed send. Here messages go out by `producer.Producer`, which returns when the broker has them.
- `exactly_once`, windowed tables, `on_window_close`, `concurrency > 1` and `take()` lose or corrupt data: none is used.

A broker that goes away is waited for. Where Faust itself breaks down over it, `run` raises and the process ends: its
supervisor starts it again, and it goes on at the last commit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import faust
from faust.auth import SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport

from schemas.codec import decode
from schemas.commits import FinishedPrefix
from schemas.errors import ConfigurationError, Fatal, Refused, StageFailed
from schemas.plant import Plant
from schemas.settings import KafkaSettings, StageSettings
from schemas.telemetry import Stage
from schemas.topics import FRAME_LIMIT_BYTES, Topic
from topologies.background import Background, until_one_ends
from topologies.dead_letters import refuse
from topologies.history import History
from topologies.membership import GATHER_BYTES
from topologies.producer import Producer
from topologies.records import Handler, Record

TICK_MS = 250
COMMIT_EVERY_S = 0.5
GATHER_MS = 200
BUFFERED_RECORDS = 64  # by topic; a record on these topics has at most 1 MiB
CONTACT_EVERY_S = 2.0
CONTACT_TIMEOUT_S = 5.0
SESSION_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 15.0
DRAIN_S = 2.5
STOP_S = 2.5


class EventRunner:
    """Drives one handler over co-partitioned topics.

    The stage is ready when it has partitions and a broker, and its handler has read back what it needs.
    """

    def __init__(
        self,
        *,
        plant: Plant,
        stage: Stage,
        topics: Sequence[Topic],
        handler: Handler,
        kafka: KafkaSettings | None = None,
        tick_ms: int = TICK_MS,
    ) -> None:
        self._plant = plant.plant
        self._stage = stage
        self._topics = tuple(topics)
        self._handler = handler
        self._kafka = kafka or KafkaSettings()
        self._tick_s = tick_ms / 1000
        self._turn = asyncio.Lock()  # one method of the handler at a time
        self._owned = asyncio.Event()
        self._assignment: _Assignment | None = None
        self._in_contact = False
        self._work: Background
        self._producer: Producer

    async def run(self, stop: asyncio.Event) -> None:
        """Returns when `stop` is set and everything is drained, within 10 s.

        Raises StageFailed when the handler or Faust fails, ConfigurationError where topics are missing.
        """
        self._work = Background()
        async with (
            Producer(plant=self._plant, stage=self._stage, kafka=self._kafka) as self._producer,
            History(plant=self._plant, stage=self._stage, kafka=self._kafka) as history,
        ):
            await self._check_topics(history)
            app = self._app()
            await app.start()
            try:
                await until_one_ends(
                    self._stopped(stop), self._crashed(app), self._failures(), self._ticks(), self._contact(history)
                )
                await self._give_up()
                await app.consumer.commit()
            finally:
                self._stage.ready = False
                await self._work.cancel()
                await _stop(app)

    async def _check_topics(self, history: History) -> None:
        """Faust passes over a topic that is missing and assigns others apart: neither must happen unseen."""
        counts = {topic.on(self._plant): await history.partitions(topic) for topic in self._topics}
        missing = sorted(name for name, count in counts.items() if not count)
        if missing:
            raise ConfigurationError(
                f"topics are missing on the broker: {', '.join(missing)}; create them with: linesight topics --create"
            )
        if len(set(counts.values())) > 1:
            raise ConfigurationError(
                f"topics that are joined need equal partition counts, found {counts}: "
                "recreate them with kafka.partitions of the plant file"
            )

    def _app(self) -> Any:
        """The Faust app: consumer and agents only, no web server, no producer, no leader topic."""
        run_dir = StageSettings().run_dir
        name = f"{self._plant}.{self._stage.name}"
        app = faust.App(
            name,
            broker=[f"aiokafka://{server.strip()}" for server in self._kafka.bootstrap_servers.split(",")],
            broker_credentials=_credentials(self._kafka),
            broker_commit_interval=COMMIT_EVERY_S,
            broker_heartbeat_interval=1.0,
            broker_session_timeout=SESSION_TIMEOUT_S,
            broker_request_timeout=REQUEST_TIMEOUT_S,
            consumer_auto_offset_reset="earliest",
            consumer_group_instance_id=f"{name}.{StageSettings().instance}",
            consumer_max_fetch_size=FRAME_LIMIT_BYTES,
            stream_buffer_maxsize=BUFFERED_RECORDS,
            stream_wait_empty=False,
            key_serializer="raw",
            value_serializer="raw",
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            datadir=str(run_dir.resolve() / "faust"),
            autodiscover=False,
        )
        run_dir.mkdir(parents=True, exist_ok=True)
        app.boot_strategy.enable_kafka_producer = False
        app.transport = _GatheringTransport(app.conf.broker, app, app.loop)
        for topic in self._topics:
            app.agent(app.topic(topic.on(self._plant)), name=topic.name)(self._agent(topic))
        app.on_partitions_assigned.connect(self._on_assigned)
        app.on_partitions_revoked.connect(self._on_revoked)
        app.finalize()
        return app

    def _agent(self, topic: Topic) -> Callable[[Any], Any]:
        async def agent(stream: Any) -> None:
            async for event in _events(stream):
                try:
                    await self._take(topic, event)
                except Exception as error:
                    self._work.fail(error)
                    await asyncio.Event().wait()  # going on would let Faust acknowledge; the process is about to end

        return agent

    # --- ownership ---------------------------------------------------------------------------------------------------

    async def _on_assigned(self, app: Any, assigned: set[Any], **_: Any) -> None:
        """Faust's signal; it waits with its heartbeats, so the handler's own reading is done beside it."""
        names = {topic.on(self._plant) for topic in self._topics}
        partitions = frozenset(place.partition for place in assigned if place.topic in names)
        self._work.spawn(self._take_over(_Assignment(partitions)))

    async def _take_over(self, assignment: _Assignment) -> None:
        async with self._turn:
            self._assignment = assignment
            if assignment.partitions:
                await self._handler.assigned(assignment.partitions, self._producer)
            if self._assignment is assignment:
                self._owned.set()

    async def _on_revoked(self, app: Any, revoked: set[Any], **_: Any) -> None:
        await self._give_up()
        await app.consumer.commit()

    async def _give_up(self) -> None:
        """Stop intake, let the handler finish what is open, with a deadline."""
        self._owned.clear()
        assignment, self._assignment = self._assignment, None
        self._stage.ready = False
        if assignment is None:
            return
        try:
            async with asyncio.timeout(DRAIN_S), self._turn:
                if assignment.partitions:
                    await self._handler.drain(assignment.partitions)
        except TimeoutError:
            self._stage.log.warning("drain_cut_short", records=assignment.open_records)
        except Exception as error:
            self._work.fail(error)
        self._stage.in_progress.dec(assignment.open_records)
        self._stage.in_progress_bytes.dec(assignment.open_bytes)
        assignment.close()

    # --- records in --------------------------------------------------------------------------------------------------

    async def _take(self, topic: Topic, event: Any) -> None:
        while True:
            await self._owned.wait()
            async with self._turn:
                if self._assignment is not None and self._owned.is_set():
                    await self._handle(topic, event, self._assignment)
                    return

    async def _handle(self, topic: Topic, event: Any, assignment: _Assignment) -> None:
        raw = event.message
        size_bytes = len(raw.value or b"") + len(raw.key or b"")
        headers = tuple(_pairs(raw.headers))
        at_ms = int(raw.timestamp * 1000)
        place = (topic.name, raw.partition)
        if not assignment.take(place, event, size_bytes):
            return  # fetched before a rebalance
        self._stage.taken(topic.name, at_ms=at_ms)
        self._stage.in_progress_bytes.inc(size_bytes)
        since = time.monotonic()

        def finish() -> None:
            if assignment.finish(place, raw.offset):
                self._stage.in_progress_bytes.dec(size_bytes)
                self._stage.finished(seconds=time.monotonic() - since)

        message, refused = None, None
        try:
            message = decode(topic, raw.value, headers)
        except Refused as error:
            refused = error
        record = Record(
            topic=topic,
            message=message,
            partition=raw.partition,
            offset=raw.offset,
            at_ms=at_ms,
            headers=headers,
            key=raw.key,
            value=raw.value or b"",
            size_bytes=size_bytes,
            on_finish=finish,
        )
        if refused is None:
            await self._handler.take(record)
            return
        await self._producer.send(await self._handler.refused(record, refused))
        await refuse(record, refused, stage=self._stage, producer=self._producer)
        record.finish()

    # --- beside the records ------------------------------------------------------------------------------------------

    async def _stopped(self, stop: asyncio.Event) -> None:
        await stop.wait()

    async def _failures(self) -> None:
        try:
            await asyncio.shield(self._work.failed)
        except Fatal:
            raise
        except Exception as error:
            self._stage.log.error("handler_failed", exc_info=error)
            raise StageFailed(
                f"{self._stage.name} stopped: {error!r}. What was not finished is not committed; it is read again at the next start"
            ) from error

    async def _crashed(self, app: Any) -> None:
        """Faust's own services: it says by a flag that one of them broke down."""
        while not (app.should_stop or app.crashed):  # noqa: ASYNC110  Faust only has flags
            await asyncio.sleep(0.25)
        raise StageFailed(f"{self._stage.name} stopped: Faust broke down: {app.crash_reason!r}")

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            if self._owned.is_set():
                async with self._turn:
                    if self._assignment is not None:
                        await self._handler.tick(time.time_ns())
            self._stage.ready = self._owned.is_set() and self._in_contact and bool(self._assignment)

    async def _contact(self, history: History) -> None:
        """Asks from time to time whether the broker is there; Faust does not say."""
        while True:
            question = asyncio.ensure_future(history.end(self._topics[0], 0))
            try:
                await asyncio.wait([question], timeout=CONTACT_TIMEOUT_S)
                self._in_contact = question.done()
                await question
            finally:
                question.cancel()
            self._in_contact = True
            await asyncio.sleep(CONTACT_EVERY_S)


class _GatheringThread(AIOKafkaConsumerThread):
    """Faust's client, answered by the broker every `GATHER_MS` or when there is much: Faust has no setting for it."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_min_bytes, consumer._fetch_max_wait_ms = GATHER_BYTES, GATHER_MS
        return consumer


class _GatheringConsumer(Consumer):
    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return _GatheringThread(self, loop=self.loop, beacon=self.beacon)


class _GatheringTransport(Transport):
    Consumer = _GatheringConsumer


class _Assignment:
    """The partitions that are ours, and the records of them that are not acknowledged."""

    def __init__(self, partitions: frozenset[int]) -> None:
        self.partitions = partitions
        self.open_bytes = 0
        self._prefixes: dict[tuple[str, int], FinishedPrefix] = {}
        self._newest: dict[tuple[str, int], int] = {}
        self._events: dict[tuple[str, int], dict[int, Any]] = {}  # taken and not acknowledged, by offset
        self._sizes: dict[tuple[str, int, int], int] = {}  # taken and not finished

    @property
    def open_records(self) -> int:
        """Records that were taken and are not finished."""
        return len(self._sizes)

    def take(self, place: tuple[str, int], event: Any, size_bytes: int) -> bool:
        """Notes a record; False for one that is not ours or was taken before."""
        offset = event.message.offset
        if place[1] not in self.partitions or offset <= self._newest.get(place, -1):
            return False
        self._newest[place] = offset
        self._prefixes.setdefault(place, FinishedPrefix()).take(offset)
        self._events.setdefault(place, {})[offset] = event
        self._sizes[*place, offset] = size_bytes
        self.open_bytes += size_bytes
        return True

    def finish(self, place: tuple[str, int], offset: int) -> bool:
        """Acknowledges the finished prefix as far as it reaches now; False for a record that is not open (any more)."""
        size_bytes = self._sizes.pop((*place, offset), None)
        if size_bytes is None:
            return False
        self.open_bytes -= size_bytes
        for joined in self._prefixes[place].finish(offset):
            self._events[place].pop(joined).ack()
        return True

    def close(self) -> None:
        """The partitions are no longer ours: their next owner reads again what is open."""
        self._sizes.clear()
        self._events.clear()


async def _events(stream: Any) -> AsyncIterator[Any]:
    async for event in stream.noack().events():
        yield event


def _pairs(headers: Any) -> Sequence[tuple[str, bytes]]:
    return list(headers.items()) if isinstance(headers, dict) else list(headers or ())


def _credentials(kafka: KafkaSettings) -> Any:
    context = kafka.ssl_context()
    if kafka.security_protocol.startswith("SASL"):
        return SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value() if kafka.sasl_password else None,
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return SSLCredentials(context=context) if context is not None else None


async def _stop(app: Any) -> None:
    try:
        async with asyncio.timeout(STOP_S):
            await app.stop()
    except TimeoutError:
        pass  # a broker that is away cannot be told; our session there ends by itself
