"""The statistics stage from topic to topic on a real broker: verdicts/s, and from a restart to the first correct figure."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from prometheus_client import Counter, Histogram
from prometheus_client.samples import Sample

from benchmarks.peer_process import PeerFailed
from benchmarks.statistics_feed import verdicts
from benchmarks.statistics_peers import counted_per_s, task_on
from ops.local.kafka import LocalKafka
from schemas.codec import decode, encode
from schemas.message import NS_PER_S
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.settings import KafkaSettings
from schemas.statistics import WindowStatistics
from schemas.statistics_settings import StatisticsSettings
from schemas.telemetry import Stage
from schemas.topics import CHARTS, DEAD_LETTERS, PANES, STATISTICS, VERDICTS
from topologies.statistics_stage import run
from topologies.topic_admin import ensure_topics

PLANT_FILE = Path(__file__).parents[1] / "plants" / "demo.yaml"
ONE_AGGREGATE = StatisticsSettings(windows_ms=(60_000,))
MANY = StatisticsSettings(windows_ms=(10_000, 60_000, 600_000, 3_600_000))
PATIENCE_S = 300.0
MINUTE_MS = 60_000
MINUTE_NS = 60 * NS_PER_S


PEERS = {"faust": 60_000, "quix": 200_000, "bytewax": 200_000}
"""How many of the topic's verdicts each counts at most: the slow one would take minutes for all."""


def measured(count: int, *, stations: int, peers: dict[str, int] | None = None) -> dict[str, Any]:
    """Verdicts/s of one aggregate (and of `peers` on the same topic) and of the demo's plant file; seconds from a restart with
    `stations` x 20 classes x 4 windows. A peer that failed has its last words instead of a rate."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    demo = load_plant(PLANT_FILE)
    with tempfile.TemporaryDirectory() as folder, LocalKafka(Path(folder)) as broker:
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = broker.bootstrap_servers
        # first what no peer does: a broker that has just started would be slower for us alone
        everything = _verdicts_per_s(_named(demo, "every", demo.statistics), count)
        one = _verdicts_per_s(_named(demo, "one", ONE_AGGREGATE), count)
        beside = _peers(_named(demo, "one", ONE_AGGREGATE), count, Path(folder), PEERS if peers is None else peers)
        restart_s = asyncio.run(_restart_s(_named(demo, "many", MANY), stations))
    return {"one_per_s": one, "demo_per_s": everything, "restart_s": restart_s, "peers": beside}


def _peers(plant: Plant, count: int, folder: Path, peers: dict[str, int]) -> dict[str, float | str]:
    found: dict[str, float | str] = {}
    for peer, most in peers.items():
        task = task_on(KafkaSettings(), verdicts=VERDICTS.on(plant.plant), peer=peer, count=min(count, most))
        asyncio.run(_make_topic(task.results))
        try:
            found[peer] = counted_per_s(peer, task, folder)
        except PeerFailed as failure:
            found[peer] = str(failure)
    return found


async def _make_topic(name: str) -> None:
    admin = AIOKafkaAdminClient(**KafkaSettings().client())
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 4, 1)])
    finally:
        await admin.close()


def _named(plant: Plant, name: str, statistics: StatisticsSettings) -> Plant:
    return msgspec.structs.replace(plant, plant=f"bench-{name}", statistics=statistics)


def _verdicts_per_s(plant: Plant, count: int) -> float:
    """Of a stage in a process of its own, as each peer has one: this one has made and sent all the verdicts."""
    asyncio.run(_publish(plant, count, stations=1))
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_counted_per_s, plant, count).result(PATIENCE_S)


def _counted_per_s(plant: Plant, count: int) -> float:
    """With the event loop and the collector as `linesight run` sets them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    gc.freeze()
    return uvloop.run(_counted(plant, count))


async def _counted(plant: Plant, count: int) -> float:
    """From when the first verdicts are seen to have been taken, without them, to the last one of which everything is out."""
    async with _running(plant) as stage:
        await _until(lambda: _taken(stage) > 0)
        began_s, before = time.perf_counter(), _taken(stage)
        await _until(lambda: _finished(stage) >= count)
        return (count - before) / (time.perf_counter() - began_s)


async def _restart_s(plant: Plant, stations: int) -> float:
    """From the start of a stage that was here before to the figure of a minute that one verdict more makes, all others in it."""
    count = 50 * stations
    sent = await _publish(plant, count, stations=stations)
    async with _running(plant) as stage:
        await _until(lambda: _finished(stage) >= count)
    last = sent[-1]
    minute = [
        each.part_id
        for each in sent
        if each.station == last.station and each.arrived_at_ns // MINUTE_NS == last.arrived_at_ns // MINUTE_NS
    ]
    expected = len(set(minute)) + 1
    async with AIOKafkaConsumer(STATISTICS.on(plant.plant), **KafkaSettings().client()) as consumer:
        await consumer.seek_to_end()
        for place in consumer.assignment():
            await consumer.position(place)
        await _send(plant, [msgspec.structs.replace(last, id="one-more", part_id="one-more", revision=1)])
        began_s = time.perf_counter()
        async with _running(plant):
            async for raw in consumer:
                found: WindowStatistics = decode(STATISTICS, raw.value, raw.headers)
                is_minute = found.window_ms == MINUTE_MS and not found.by
                if is_minute and found.name == last.station and found.counts.parts == expected:
                    return time.perf_counter() - began_s
    raise AssertionError("the consumer ended")


def _taken(stage: Stage) -> float:
    return sum(each.value for each in _samples(stage.received, "_total") if each.labels["topic"] == VERDICTS.name)


def _finished(stage: Stage) -> float:
    return sum(each.value for each in _samples(stage.duration, "_count"))


def _samples(metric: Counter | Histogram, ending: str) -> Iterator[Sample]:
    """Of one metric: to collect all of the stage's takes half a millisecond of the process that is measured, at each look."""
    return (each for found in metric.collect() for each in found.samples if each.name.endswith(ending))


@asynccontextmanager
async def _running(plant: Plant) -> AsyncIterator[Stage]:
    stop, stage = asyncio.Event(), Stage("statistics")
    task = asyncio.create_task(run(plant, plant_dir=PLANT_FILE.parent, stage=stage, stop=stop))
    try:
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


async def _publish(plant: Plant, count: int, *, stations: int) -> list[Any]:
    await ensure_topics(plant, kafka=KafkaSettings(), topics=(VERDICTS, PANES, STATISTICS, CHARTS, DEAD_LETTERS))
    # the newest part arrives now: as on a line, no clock runs ahead of the broker's
    made = list(verdicts(count, stations=stations))
    shift_ns = time.time_ns() - made[-1].arrived_at_ns
    now = [
        msgspec.structs.replace(
            each, arrived_at_ns=each.arrived_at_ns + shift_ns, decided_at_ns=each.decided_at_ns + shift_ns
        )
        for each in made
    ]
    await _send(plant, now)
    return now


async def _send(plant: Plant, messages: list[Any]) -> None:
    async with AIOKafkaProducer(
        **KafkaSettings().client(), acks="all", linger_ms=20, max_batch_size=1 << 18
    ) as producer:
        acknowledgements = []
        for message in messages:
            record = encode(VERDICTS, message)
            acknowledgements.append(
                await producer.send(
                    VERDICTS.on(plant.plant), key=message.station.encode(), value=record.value, headers=record.headers
                )
            )
        await asyncio.gather(*acknowledgements)


async def _until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  a counter of the stage has no event
            await asyncio.sleep(0.02)
