"""The thread that feeds the outbox to kafka-python's idempotent producer, and replaces a producer that has given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaProducer
from kafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)

from gateways.outbox import Item, Outbox
from gateways.spool_lane import Lane
from schemas.codec import spooled_header
from schemas.errors import Fatal
from schemas.patience import LONGEST_S, pause_s
from schemas.settings import KafkaSettings
from schemas.telemetry import AttemptRepeated, Noticed, Stage
from schemas.topics import BY_NAME, MIB_BYTES

# Above the largest topic limit; a batch holds what waited while the one before was under way.
MAX_REQUEST_BYTES = 6 * MIB_BYTES
BATCH_BYTES = MIB_BYTES
REQUEST_TIMEOUT_MS = 10_000
BOOTSTRAP_TIMEOUT_MS = 2_000
METADATA_TIMEOUT_MS = 1_000
SAY_AFTER_S = 3.0
CLOSE_S = 1.0
NEVER = (ClusterAuthorizationFailedError, MessageSizeTooLargeError, TopicAuthorizationFailedError)


class Sender:
    """Sends what the outbox gives it. Both callbacks come from other threads: `acknowledged` with each record that the broker has,
    `failed` once, where repeating is useless."""

    def __init__(
        self,
        *,
        plant: str,
        stage: Stage,
        kafka: KafkaSettings,
        outbox: Outbox,
        acknowledged: Callable[[Item], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._outbox = outbox
        self._acknowledged = acknowledged
        self._failed = failed
        self._condition = outbox.condition
        # guarded by the condition's lock: shared with the client's network thread
        self._attempt = 0
        self._failure: str | None = None
        self._stopping = False
        self.connected = False
        """Whether the broker takes records."""
        self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing is sent any more. Blocks for a few seconds at most."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        self._thread.join(BOOTSTRAP_TIMEOUT_MS / 1000 + 3 * CLOSE_S)

    # --- on the sender's thread --------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._stopping:
                producer = self._connect()
                if producer is None:
                    return
                try:
                    self._pump(producer)
                finally:
                    self.connected = False
                    end_producer(producer, timeout_s=CLOSE_S)
                if self._failure is not None and not self._stopping:
                    self._say(self._failure, 1)
                    self._pause(1)
                with self._condition:
                    if not self._stopping:
                        self._outbox.take_back()
                        self._failure = None
        except Exception as error:
            # whatever it is, a gateway that no longer publishes must not go on silently
            self._failed(error)

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
        """Hands records to `producer` until it fails or the sender stops."""
        with self._condition:
            self._attempt += 1
            self.connected = True
        while True:
            item = self._next_item()
            if self._stopping or self._failure is not None:
                return
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

    def _next_item(self) -> Item | None:
        """The next record, handed over; waits a while for one."""
        with self._condition:
            until_s = time.monotonic() + SAY_AFTER_S
            while (chosen := self._outbox.next(now_s=time.monotonic())) is None:
                now_s = time.monotonic()
                if self._stopping or self._failure is not None or now_s >= until_s:
                    return None
                self._condition.wait(self._outbox.patience_s(now_s=now_s, longest_s=until_s - now_s))
            if isinstance(chosen, Item):
                self._outbox.hand_over(chosen, attempt=self._attempt, now_s=time.monotonic())
                return chosen
        item = self._from_disk(chosen)
        if item is not None:
            with self._condition:
                self._outbox.hand_over(item, attempt=self._attempt, now_s=time.monotonic())
        return item

    def _from_disk(self, lane: Lane) -> Item | None:
        spool = self._outbox.spool
        if spool is None:
            return None
        try:
            taken = spool.take(lane)
        except OSError as error:
            self._stage.emit(Noticed(what="spool_not_read", subject=str(spool.folder), detail=repr(error)))
            self._pause(1)
            return None
        if taken is None:
            return None
        envelope, value = taken.record
        topic = BY_NAME.get(envelope.topic)
        if topic is None:  # of a later Linesight
            lane.pass_over(taken.number)
            return None
        return Item(
            topic,
            envelope.key,
            value,
            [*envelope.headers, spooled_header(envelope.at_ns)],
            lane is spool.droppable,
            lambda _fate: None,
            envelope.at_ns,
            settled=True,
            number=taken.number,
        )

    def _say_if_stuck(self) -> None:
        with self._condition:
            oldest = next(iter(self._outbox.in_flight), None)
        stuck_s = 0.0 if oldest is None else time.monotonic() - oldest.since_s
        self.connected = stuck_s < SAY_AFTER_S
        if oldest is not None and not self.connected:
            self._say(f"{oldest.topic.name}: not acknowledged for {stuck_s:.0f} s", int(stuck_s / SAY_AFTER_S))

    def _say(self, detail: str, attempt: int) -> None:
        self._stage.emit(AttemptRepeated(service="broker", detail=detail, attempt=attempt))

    def _pause(self, attempt: int) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._stopping, timeout=pause_s(attempt))

    # --- on the client's network thread ------------------------------------------------------------------------------

    def _on_acknowledged(self, item: Item, attempt: int, _metadata: Any) -> None:
        with self._condition:
            if not self._outbox.acknowledge(item, attempt=attempt):
                return
            self.connected = True
            self._condition.notify_all()
        self._acknowledged(item)

    def _on_error(self, item: Item, attempt: int, error: BaseException) -> None:
        if isinstance(error, NEVER):
            what = f"{item.topic.on(self._plant)} does not take a record of {item.size_bytes} bytes: {error!r}"
            self._failed(Fatal(what))
        with self._condition:
            if item in self._outbox.in_flight and item.attempt == attempt:
                self._failure = f"{item.topic.name}: {error!r}"
                self._condition.notify_all()


def end_producer(producer: KafkaProducer, *, timeout_s: float) -> None:
    """Ends `producer`; what the broker did not acknowledge within `timeout_s` is given up, never sent later."""
    try:
        producer.close(timeout=timeout_s)
    except KafkaTimeoutError:
        # kafka-python 3 raises where the flush takes too long, and leaves the network thread that would send them a second time
        producer._sender.force_close()
