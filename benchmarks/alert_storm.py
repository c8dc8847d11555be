"""A storm of alerts: 5,000 rule hits in 10 s through the real alerts stage, to HTTP receivers of which one hangs and one redirects.

Each hit is a part that is NOT_OK at a station whose rule looks at one part, and the part after it is OK: an alert raised and cleared,
the most that a rule can make. Measured is what comes out at the other end: requests at the servers, records on the topics. Of a request
its tries count, too. It ends after the digest, which comes a minute after the first alert that is not told alone.

    python -m benchmarks.alert_storm
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.results_file import Row, load
from ops.local.kafka import LocalKafka
from schemas.alert_rules import DefectRateRule
from schemas.alerts import Alert, AlertState
from schemas.codec import decode, encode
from schemas.message import NS_PER_MS
from schemas.notifications import Notification, NotificationKind
from schemas.plant import Camera, ExternalSource, Line, Plant, Station
from schemas.reasons import FailSafe, VerdictValue
from schemas.receivers import WebhookReceiver
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import ALERTS, NOTIFICATIONS, VERDICTS, Topic
from schemas.verdicts import Verdict, verdict_id
from topologies.alerts_stage import run
from topologies.topic_admin import ensure_topics

HITS = 5_000
OVER_S = 10.0
STATIONS = 50
MOST_MESSAGES = 10
PATIENCE_S = 300.0
SERVERS = ("good", "hanging", "redirecting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """What was measured. `requests` and `messages` (different keys of idempotency) by receiver; `undecided` are pairs of an alert's step
    and a receiver without a record of what was decided; `digested` the steps that digests to the good receiver stand for."""

    hits: int
    fed_in_s: float
    recorded_after_s: float
    requests: dict[str, int]
    messages: dict[str, int]
    followed_redirects: int
    lost_hits: int
    steps: int
    undecided: int
    withheld: int
    digested: int
    load_then: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """As a map."""
        return asdict(self)


def rows(storm: Storm) -> Iterator[Row]:
    """The figures."""
    name = f"storm, {storm.hits} rule hits in {storm.fed_in_s:.1f} s"
    busiest = max(storm.messages.values())
    yield Row(name=f"{name}: messages to a receiver", value=busiest, unit="messages", at_most=MOST_MESSAGES)
    yield Row(name="its hits that are not on the record", value=storm.lost_hits, unit="hits", at_most=0)
    yield Row(name=f"its {storm.steps} steps of alerts undecided", value=storm.undecided, unit="decisions", at_most=0)
    yield Row(name="its redirects that were followed", value=storm.followed_redirects, unit="requests", at_most=0)
    after = "the last hit to the last decision on its topic"
    yield Row(name=after, value=round(storm.recorded_after_s, 1), unit="s")


def measured() -> Storm:
    """Runs the storm on a Kafka of its own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder, LocalKafka(Path(folder)) as broker:
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = broker.bootstrap_servers
        return asyncio.run(_storm())


async def _storm() -> Storm:
    async with _servers() as servers:
        plant = _plant(servers.port)
        await ensure_topics(plant, kafka=KafkaSettings())
        stop, stage = asyncio.Event(), Stage("alerts")
        task = asyncio.create_task(run(plant, plant_dir=Path(), stage=stage, stop=stop))
        await _until(lambda: stage.ready)
        began_s = time.perf_counter()
        hits = await _feed(plant)
        fed_s = time.perf_counter()
        await _until(lambda: _decided(stage) >= 2 * HITS * len(SERVERS))
        recorded_s = time.perf_counter()
        await _until(lambda: _decided(stage, "digest") >= len(SERVERS))
        await _until(lambda: servers.has_digest)
        stop.set()
        await asyncio.wait_for(task, 30)
        alerts: list[Alert] = await _read(plant, ALERTS)
        notifications: list[Notification] = await _read(plant, NOTIFICATIONS)
    told = {(each.receiver, step.id) for each in notifications for step in each.alerts}
    shown = {verdict for alert in alerts if alert.state is AlertState.RAISED for verdict in alert.evidence}
    digests = [each for each in notifications if each.kind is NotificationKind.DIGEST and each.receiver == SERVERS[0]]
    return Storm(
        hits=HITS,
        fed_in_s=fed_s - began_s,
        recorded_after_s=recorded_s - fed_s,
        requests=dict(servers.requests),
        messages={name: len(servers.keys[name]) for name in SERVERS},
        followed_redirects=servers.requests["internal"],
        lost_hits=len(hits - shown),
        steps=len({alert.id for alert in alerts}),
        undecided=sum((name, alert.id) not in told for alert in alerts for name in SERVERS),
        withheld=sum(each.kind is NotificationKind.WITHHELD for each in notifications),
        digested=sum(sum(each.counts.values()) for each in digests),
        load_then=load(),
    )


def _plant(port: int) -> Plant:
    def station(number: int) -> Station:
        name = f"aoi-{number}"
        return Station(
            name=name, cameras=(Camera(name=f"{name}-top", views=(f"{name}-top",), source=ExternalSource()),)
        )

    return Plant(
        plant="bench-storm",
        lines=(Line(name="line-1", stations=tuple(station(number) for number in range(STATIONS))),),
        recipes=(),
        alerts=(DefectRateRule(name="every-part", raise_ratio=0.5, clear_ratio=0.5, window_ms=1, minimum_parts=1),),
        receivers=tuple(
            WebhookReceiver(
                name=name,
                url=f"http://127.0.0.1:{port}/{name}",
                secret="not a secret, a benchmark's",
                timeout_ms=1_000,
                max_tries=1,
                max_per_hour=MOST_MESSAGES,
            )
            for name in SERVERS
        ),
    )


async def _feed(plant: Plant) -> set[str]:
    """Publishes the parts at an even pace; returns the ids of the verdicts that are hits, when the broker has all of them."""
    hits = set()
    async with AIOKafkaProducer(**KafkaSettings().client(), acks="all", linger_ms=5) as producer:
        acknowledgements, began_s = [], time.perf_counter()
        for number in range(HITS):
            await asyncio.sleep(max(0.0, began_s + number * OVER_S / HITS - time.perf_counter()))
            for value in (VerdictValue.NOT_OK, VerdictValue.OK):
                verdict = _verdict(number, value)
                if value is VerdictValue.NOT_OK:
                    hits.add(verdict.id)
                record = encode(VERDICTS, verdict)
                acknowledgements.append(
                    await producer.send(
                        VERDICTS.on(plant.plant),
                        key=verdict.station.encode(),
                        value=record.value,
                        headers=record.headers,
                    )
                )
        await asyncio.gather(*acknowledgements)
    return hits


def _verdict(number: int, value: VerdictValue) -> Verdict:
    station, part = f"aoi-{number % STATIONS}", f"{number}-{value.value}"
    at_ns = time.time_ns() + (value is VerdictValue.OK) * 2 * NS_PER_MS
    return Verdict(
        id=verdict_id(station=station, part_id=part, visit=1, revision=1),
        station=station,
        line="line-1",
        part_id=part,
        visit=1,
        revision=1,
        verdict=value,
        action=FailSafe.REJECT,
        arrived_at_ns=at_ns,
        decided_at_ns=at_ns,
        recipe="board@1",
    )


class _Servers:
    def __init__(self) -> None:
        self.port = 0
        self.requests: Counter[str] = Counter()
        self.keys: dict[str, set[str]] = {name: set() for name in SERVERS}
        self.released = asyncio.Event()

    @property
    def has_digest(self) -> bool:
        """Whether every server was asked to take a digest."""
        return all(any("/digest/" in key for key in keys) for keys in self.keys.values())

    async def take(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.requests[name] += 1
        if name in self.keys:
            self.keys[name].add(request.headers["Idempotency-Key"])
        if name == "hanging":
            await self.released.wait()
        if name == "redirecting":
            raise web.HTTPTemporaryRedirect(f"http://127.0.0.1:{self.port}/internal")
        return web.Response(status=204)


@asynccontextmanager
async def _servers() -> AsyncIterator[_Servers]:
    found, app = _Servers(), web.Application()
    app.router.add_route("*", "/{name}", found.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.port = runner.addresses[0][1]
    try:
        yield found
    finally:
        found.released.set()
        await runner.cleanup()


def _decided(stage: Stage, decision: str | None = None) -> float:
    """Decisions on the topic `notifications`; without `decision` all about single steps."""
    samples = [
        sample
        for metric in stage.registry.collect()
        if metric.name == "linesight_alerts_notifications"
        for sample in metric.samples
        if sample.name.endswith("_total")
    ]
    return sum(
        sample.value
        for sample in samples
        if (sample.labels["decision"] == decision if decision else sample.labels["decision"] != "digest")
    )


async def _read(plant: Plant, topic: Topic) -> list[Any]:
    """Everything that is on a topic now."""
    found = []
    name = topic.on(plant.plant)
    async with AIOKafkaConsumer(name, **KafkaSettings().client()) as consumer:
        places = [TopicPartition(name, number) for number in consumer.partitions_for_topic(name) or ()]
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        for place in places:
            while await consumer.position(place) < ends[place]:
                for raw in (await consumer.getmany(place, timeout_ms=1_000)).get(place, []):
                    found.append(decode(topic, raw.value, raw.headers))
    return found


async def _until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  a counter of the stage has no event
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    result = measured()
    for row in rows(result):
        print(row.as_json())
    print(result.as_json())
