"""Every alert to the `webhooks` of the plant file, as it is on the topic: for programs. People are told by `receivers`.

A webhook gets every alert at least once, in order; its `Idempotency-Key` is the alert's id.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from functools import partial

import aiohttp
import msgspec

from schemas.alerts import Alert
from schemas.plant import Plant
from schemas.receivers import Webhook
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import ALERTS
from topologies.background import until_one_ends
from topologies.http_post import header_value, host_of, post_json
from topologies.producer import Producer
from topologies.receiver_reader import Delivery, ReceiverReader


class Webhooks:
    """All webhooks of a plant file."""

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._began_ms = time.time_ns() // 1_000_000
        self._sent = stage.counter("webhooks", "Alerts given to receivers.", "outcome")

    async def run(self) -> None:
        """Runs until it is cancelled. Raises when a webhook's reader fails for a reason that no repetition can help."""
        if not self._plant.webhooks:
            await asyncio.Event().wait()
        async with (
            Producer(plant=self._plant.plant, stage=self._stage, kafka=self._kafka) as producer,
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None), headers={"User-Agent": "linesight"}
            ) as session,
        ):
            readers = (
                ReceiverReader(
                    delivery=self._delivery(webhook, session),
                    topic=ALERTS,
                    plant=self._plant.plant,
                    partitions=self._plant.kafka.partitions,
                    stage=self._stage,
                    kafka=self._kafka,
                    producer=producer,
                    begins_ms=self._began_ms,
                ).run()
                for webhook in self._plant.webhooks
            )
            await until_one_ends(*readers)

    def _delivery(self, webhook: Webhook, session: aiohttp.ClientSession) -> Delivery:
        return Delivery(
            name=f"webhook-{hashlib.sha256(webhook.url.encode()).hexdigest()[:8]}",
            host=host_of(webhook.url),
            max_tries=webhook.max_tries,
            concerns=lambda alert: True,
            deliver=partial(_post, session, webhook),
            count=lambda outcome: self._sent.labels(outcome).inc(),
        )


async def _post(session: aiohttp.ClientSession, webhook: Webhook, alert: Alert) -> None:
    await post_json(
        session,
        webhook.url,
        body=msgspec.json.encode(alert),
        headers={"Idempotency-Key": header_value(alert.id)},
        timeout_ms=webhook.timeout_ms,
    )
