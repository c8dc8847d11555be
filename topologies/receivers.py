"""Notifications to the `receivers` of the plant file: signed webhooks, Alertmanagers, andon lights; every alert to its `webhooks`.

Each has a reader of its own. The plain `webhooks` are for programs: they get every alert as it is on the topic, at least once, in
order, with the alert's id as `Idempotency-Key`.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from functools import partial

import aiohttp
import msgspec

from processors.notification_forms import alertmanager_alerts, signature
from schemas.alerts import Alert
from schemas.notifications import Notification, NotificationKind
from schemas.plant import Plant
from schemas.receivers import AlertmanagerReceiver, AndonReceiver, AnyReceiver, Webhook, WebhookReceiver
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import ALERTS, NOTIFICATIONS, Topic
from topologies.andon_light import AndonLight
from topologies.background import until_one_ends
from topologies.http_post import header_value, host_of, post_json
from topologies.producer import Producer
from topologies.receiver_reader import Delivery, ReceiverReader

SIGNATURE_HEADER = "Linesight-Signature"
TIMESTAMP_HEADER = "Linesight-Timestamp"
ALERTMANAGER_PATH = "/api/v2/alerts"


class Receivers:
    """All receivers and webhooks of a plant file."""

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._began_ms = time.time_ns() // 1_000_000
        self._told = stage.counter("deliveries", "Notifications given to receivers.", "receiver", "outcome")
        self._sent = stage.counter("webhooks", "Alerts given to plain webhooks.", "outcome")
        for receiver in plant.receivers:
            for outcome in ("delivered", "refused"):
                self._told.labels(receiver.name, outcome)

    async def run(self) -> None:
        """Runs until it is cancelled. Raises when a reader fails for a reason that no repetition can help."""
        if not self._plant.receivers and not self._plant.webhooks:
            await asyncio.Event().wait()
        async with (
            Producer(plant=self._plant.plant, stage=self._stage, kafka=self._kafka) as producer,
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None), headers={"User-Agent": "linesight"}
            ) as session,
        ):
            readers = self._readers(session, producer)
            await until_one_ends(*(reader.run() for reader in readers))

    def _readers(self, session: aiohttp.ClientSession, producer: Producer) -> Iterator[ReceiverReader]:
        def reader(topic: Topic, partitions: int, delivery: Delivery) -> ReceiverReader:
            return ReceiverReader(
                delivery=delivery,
                topic=topic,
                plant=self._plant.plant,
                partitions=partitions,
                stage=self._stage,
                kafka=self._kafka,
                producer=producer,
                begins_ms=self._began_ms,
            )

        for receiver in self._plant.receivers:
            yield reader(NOTIFICATIONS, NOTIFICATIONS.partitions, self._delivery(receiver, session, producer))
        for webhook in self._plant.webhooks:
            yield reader(ALERTS, self._plant.kafka.partitions, self._plain(webhook, session))

    def _delivery(self, receiver: AnyReceiver, session: aiohttp.ClientSession, producer: Producer) -> Delivery:
        how = partial(
            Delivery,
            name=f"receiver-{receiver.name}",
            host=_shown(receiver),
            concerns=partial(_concerns, receiver.name),
            count=lambda outcome: self._told.labels(receiver.name, outcome).inc(),
        )
        match receiver:
            case WebhookReceiver():
                return how(deliver=partial(_to_webhook, session, receiver), max_tries=receiver.max_tries)
            case AlertmanagerReceiver():
                deliver = partial(_to_alertmanager, session, receiver, self._plant.plant)
                return how(deliver=deliver, max_tries=receiver.max_tries)
            case AndonReceiver():
                light = AndonLight(receiver, plant=self._plant, stage=self._stage, kafka=self._kafka, producer=producer)
                return how(deliver=light.show, in_effect=light.is_set, max_tries=1)

    def _plain(self, webhook: Webhook, session: aiohttp.ClientSession) -> Delivery:
        return Delivery(
            name=f"webhook-{hashlib.sha256(webhook.url.encode()).hexdigest()[:8]}",
            host=host_of(webhook.url),
            max_tries=webhook.max_tries,
            concerns=lambda alert: True,
            deliver=partial(_to_plain_webhook, session, webhook),
            count=lambda outcome: self._sent.labels(outcome).inc(),
        )


def _concerns(receiver: str, notification: Notification) -> bool:
    return notification.receiver == receiver and notification.kind is not NotificationKind.WITHHELD


def _shown(receiver: AnyReceiver) -> str:
    if isinstance(receiver, AndonReceiver):
        return receiver.name
    return f"{receiver.name} ({host_of(receiver.url)})"


async def _to_webhook(session: aiohttp.ClientSession, receiver: WebhookReceiver, notification: Notification) -> None:
    """Each try is signed anew, with the time of the try: a receiver refuses what is old, and what it has had by its key."""
    body, at_s = msgspec.json.encode(notification), int(time.time())
    await post_json(
        session,
        receiver.url,
        body=body,
        headers={
            "Idempotency-Key": header_value(notification.id),
            TIMESTAMP_HEADER: str(at_s),
            SIGNATURE_HEADER: signature(body, secret=receiver.secret, at_s=at_s),
        },
        timeout_ms=receiver.timeout_ms,
    )


async def _to_plain_webhook(session: aiohttp.ClientSession, webhook: Webhook, alert: Alert) -> None:
    await post_json(
        session,
        webhook.url,
        body=msgspec.json.encode(alert),
        headers={"Idempotency-Key": header_value(alert.id)},
        timeout_ms=webhook.timeout_ms,
    )


async def _to_alertmanager(
    session: aiohttp.ClientSession, receiver: AlertmanagerReceiver, plant: str, notification: Notification
) -> None:
    await post_json(
        session,
        receiver.url.rstrip("/") + ALERTMANAGER_PATH,
        body=msgspec.json.encode(alertmanager_alerts(notification, plant=plant)),
        headers={},
        timeout_ms=receiver.timeout_ms,
    )
