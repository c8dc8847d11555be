"""Alerts to receivers: each is a reader of the `alerts` topic for itself, so none waits for another and the line for none.

A receiver gets every alert at least once, in order; its `Idempotency-Key` is the alert's id. What it does not take is tried again
with growing pauses, `max_tries` times in all; then the alert becomes a dead letter, and the next one is sent. Redirects are not
followed: a receiver must not be able to send alerts elsewhere. Addresses often hold a secret, so only their host is ever told.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.alerts import Alert
from schemas.codec import decode
from schemas.errors import Refused, Transient
from schemas.patience import pause_s
from schemas.plant import Plant, Webhook
from schemas.reasons import RefusalReason
from schemas.settings import BudgetSettings, KafkaSettings, StageSettings
from schemas.telemetry import AttemptRepeated, RecordRefused, Stage
from schemas.topics import ALERTS
from topologies.background import until_one_ends
from topologies.dead_letters import dead_letter
from topologies.membership import Ownership, leave, new_consumer
from topologies.producer import Producer
from topologies.records import Record

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
TRY_AGAIN = frozenset({408, 425, 429})
POLL_MS = 500


class Webhooks:
    """All receivers of a plant file."""

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._sent = stage.counter("webhooks", "Alerts given to receivers.", "outcome")

    async def run(self) -> None:
        """Runs until it is cancelled. Raises when a receiver's reader fails for a reason that no repetition can help."""
        if not self._plant.webhooks:
            await asyncio.Event().wait()
        timeouts = aiohttp.ClientTimeout(total=None)
        async with (
            Producer(plant=self._plant.plant, stage=self._stage, kafka=self._kafka) as producer,
            aiohttp.ClientSession(timeout=timeouts, headers={"User-Agent": "linesight"}) as session,
        ):
            receivers = (
                _Receiver(
                    webhook=webhook,
                    plant=self._plant,
                    stage=self._stage,
                    kafka=self._kafka,
                    producer=producer,
                    session=session,
                    sent=self._sent,
                ).run()
                for webhook in self._plant.webhooks
            )
            await until_one_ends(*receivers)


class _Receiver:
    def __init__(
        self,
        *,
        webhook: Webhook,
        plant: Plant,
        stage: Stage,
        kafka: KafkaSettings,
        producer: Producer,
        session: aiohttp.ClientSession,
        sent: Any,
    ) -> None:
        self._webhook = webhook
        self._stage = stage
        self._kafka = kafka
        self._producer = producer
        self._session = session
        self._sent = sent
        self._topic = ALERTS.on(plant.plant)
        self._partitions = plant.kafka.partitions
        self._name = hashlib.sha256(webhook.url.encode()).hexdigest()[:8]
        self._group = f"{plant.plant}.{stage.name}.webhook-{self._name}"
        self._host = urlsplit(webhook.url).hostname or "receiver"
        self._started_ms = time.time_ns() // 1_000_000
        self._assigned = False

    async def run(self) -> None:
        """One consumer after the other: a client that broke down for good is replaced."""
        attempt = 0
        while True:
            try:
                await self._session_with_broker()
            except KafkaError as error:
                attempt += 1
                self._stage.emit(AttemptRepeated(service="broker", detail=f"webhook: {error!r}", attempt=attempt))
                await asyncio.sleep(pause_s(attempt))

    async def _session_with_broker(self) -> None:
        self._assigned = False
        consumer = new_consumer(
            kafka=self._kafka,
            group=self._group,
            instance=f"{self._group}.{StageSettings().instance}",
            topics=[self._topic],
            partitions=self._partitions,
            fetched_bytes=BudgetSettings().fetched_bytes,
            listener=Ownership(topics=[self._topic], on_assigned=self._note_assigned, on_revoked=self._note_revoked),
        )
        try:
            await consumer.start()
            begun: set[TopicPartition] = set()
            while True:
                if not self._assigned:
                    await asyncio.sleep(0.1)
                    continue
                if begun != consumer.assignment():
                    begun = set(consumer.assignment())
                    await self._begin(consumer, begun)
                batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=1)
                for place, records in batches.items():
                    for raw in records:
                        await self._handle(place, raw)
                        await consumer.commit({place: raw.offset + 1})
        finally:
            await leave(consumer)

    def _note_assigned(self, partitions: frozenset[int]) -> None:
        self._assigned = True

    async def _note_revoked(self) -> None:
        self._assigned = False

    async def _begin(self, consumer: AIOKafkaConsumer, places: set[TopicPartition]) -> None:
        """A receiver that is new gets what happens from now on, not the alerts of the last months."""
        for place in places:
            if await consumer.committed(place) is not None:
                continue
            found = (await consumer.offsets_for_times({place: self._started_ms}))[place]
            offset = found.offset if found is not None else (await consumer.end_offsets([place]))[place]
            consumer.seek(place, offset)
            await consumer.commit({place: offset})

    async def _handle(self, place: TopicPartition, raw: Any) -> None:
        headers = tuple(raw.headers)
        try:
            alert: Alert = decode(ALERTS, raw.value, headers)
            await self._deliver(alert)
        except Refused as refused:
            await self._give_up(place, raw, headers, refused)
            self._sent.labels("refused").inc()
        else:
            self._sent.labels("delivered").inc()

    async def _deliver(self, alert: Alert) -> None:
        """Returns when the receiver has taken it. Raises `Refused` when it never will, or did not in `max_tries`."""
        body = msgspec.json.encode(alert)
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._post(alert.id, body)
                return
            except Transient as error:
                if attempt >= self._webhook.max_tries:
                    raise Refused(
                        RefusalReason.RECEIVER_REFUSED, f"{self._host}: {error}, tried {attempt} times"
                    ) from error
                self._stage.emit(AttemptRepeated(service="receiver", detail=f"{self._host}: {error}", attempt=attempt))
            await asyncio.sleep(pause_s(attempt, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S))

    async def _post(self, alert_id: str, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "Idempotency-Key": alert_id}
        try:
            async with (
                asyncio.timeout(self._webhook.timeout_ms / 1000),
                self._session.post(self._webhook.url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                status = response.status
        except TimeoutError as error:
            raise Transient(f"no answer within {self._webhook.timeout_ms} ms") from error
        except aiohttp.InvalidURL as error:
            raise Refused(RefusalReason.RECEIVER_REFUSED, "the address in the plant file is no URL") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Transient(type(error).__name__) from error
        if 200 <= status < 300:
            return
        if status >= 500 or status in TRY_AGAIN:
            raise Transient(f"answered {status}")
        told = "a redirect, which is not followed" if 300 <= status < 400 else "which says never"
        raise Refused(RefusalReason.RECEIVER_REFUSED, f"{self._host} answered {status}, {told}")

    async def _give_up(
        self, place: TopicPartition, raw: Any, headers: tuple[tuple[str, bytes], ...], refused: Refused
    ) -> None:
        record = Record(
            topic=ALERTS,
            message=None,
            partition=place.partition,
            offset=raw.offset,
            at_ms=raw.timestamp,
            headers=headers,
            key=raw.key,
            value=raw.value or b"",
            size_bytes=len(raw.value or b""),
            on_finish=lambda: None,
        )
        outgoing = dead_letter(record, refused, stage=self._stage, now_ns=time.time_ns())
        # two receivers may refuse the same record: each has a dead letter of its own
        letter = msgspec.structs.replace(outgoing.message, id=f"{outgoing.message.id}/webhook-{self._name}")
        await self._producer.send([replace(outgoing, message=letter)])
        self._stage.emit(
            RecordRefused(
                reason=refused.reason.value,
                detail=refused.detail,
                topic=ALERTS.name,
                partition=place.partition,
                offset=raw.offset,
            )
        )
