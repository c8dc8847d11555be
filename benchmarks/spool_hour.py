"""An hour without Kafka at the demo line's rate, fast-forwarded: what arrives afterwards, in which order, at which price. By hand:

    .venv/bin/python -m benchmarks.spool_hour [--parts 14400] [--out run/spool_hour.json]

The station gateway's publisher, spool and manifests on a real broker. The broker is killed; three cameras' frames of an hour (43,200 of
28 kB), their manifests and an event per part are handed over as fast as the publisher takes them; the publisher is stopped and started
again; the broker comes back, and the backlog drains at 32 MiB/s while the cameras go on live at 12 frames/s. Then the
topics are read to their ends and put into the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console

from benchmarks.results_file import Row, Section, machine, write
from gateways.manifests import ManifestBook
from gateways.outbox import Fate
from gateways.publisher import RecordPublisher
from gateways.spool import open_spool
from ops.local.kafka import LocalKafka
from processors.ledger import Ledger
from schemas.codec import SPOOLED, decode
from schemas.frames import Frame, ImageEncoding, frame_id
from schemas.inspections import Inspection
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.plc_events import PartLeft
from schemas.reasons import FrameOutcome
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import FRAMES, INSPECTIONS, MANIFESTS, MIB_BYTES, PLC_EVENTS, Topic
from topologies.topic_admin import ensure_topics

DEMO = Path(__file__).parents[1] / "plants" / "demo.yaml"
PARTS = 14_400
FRAME_BYTES = 28_000
LIVE_EVERY_S = 0.25
MANIFEST_EVERY = 4  # parts: one a second
DRAIN_MIB_PER_S = 32
BUDGET_BYTES = 64 * MIB_BYTES
GROWTH_MIB = 256
LIVE_MS = 1000
DRAINED_WITHIN_S = 900.0
GONE_NS = 3_600_000_000_000


@dataclass
class Seen:
    """What is on the topics at the end. `frames` and `events`: numbers by key in order, each once; `late`: marked as spooled."""

    frames: dict[str, list[int]] = field(default_factory=dict)
    events: list[int] = field(default_factory=list)
    late: int = 0
    differences: list[str] = field(default_factory=list)


@dataclass
class Line:
    """The cameras of a station whose frames go to `publisher`, with their books."""

    plant: Plant
    publisher: RecordPublisher
    books: dict[str, ManifestBook]
    fates: list[Fate] = field(default_factory=list)
    live_ms: list[float] = field(default_factory=list)
    _picture: bytes = field(default_factory=lambda: os.urandom(FRAME_BYTES))

    async def part(self, number: int, *, live: bool) -> None:
        """A frame of each camera, an event, and now and then the manifests, as the gateway tells them."""
        for camera, book in self.books.items():
            await self.publisher.room()
            sequence, began_s = book.take_sequence(), time.monotonic()
            frame = self._frame(camera, book.session, sequence, number)
            tell = partial(self._told, book, sequence, began_s if live else None)
            self.publisher.submit(FRAMES, camera, frame, tell=tell, droppable=True)
        station = self.plant.stations[0].name
        event = PartLeft(
            id=f"{station}/{number}/1/left", station=station, part_id=str(number), visit=1, lane="good",
            by_fail_safe=False, occurred_at_ns=time.time_ns() - GONE_NS,
        )  # fmt: skip
        self.publisher.submit(PLC_EVENTS, station, event, tell=self.fates.append)
        if number % MANIFEST_EVERY == 0:
            self.tell_manifests()

    def tell_manifests(self, *, closing: bool = False) -> None:
        """What is known of the frames so far."""
        for camera, book in self.books.items():
            manifest = book.next_manifest(now_ns=time.time_ns(), closing=closing)
            if manifest is not None:
                self.publisher.submit(MANIFESTS, camera, manifest, tell=self.fates.append)

    def _told(self, book: ManifestBook, sequence: int, live_since_s: float | None, fate: Fate) -> None:
        self.fates.append(fate)
        if fate in (Fate.ACKNOWLEDGED, Fate.SPOOLED):
            book.acknowledged(sequence)
        else:
            book.dropped(sequence, "broker_away")
        if live_since_s is not None and fate is Fate.ACKNOWLEDGED:
            self.live_ms.append(1000 * (time.monotonic() - live_since_s))

    def _frame(self, camera: str, session: str, sequence: int, part: int) -> Frame:
        image = sequence.to_bytes(4, "big") + self._picture[4:]
        return Frame(
            id=frame_id(camera=camera, session=session, sequence=sequence), station=self.plant.stations[0].name,
            camera=camera, view=camera, session=session, sequence=sequence, part_id=str(part), visit=1, recipe="r@1",
            captured_at_ns=time.time_ns() - GONE_NS, encoding=ImageEncoding.JPEG, width_px=1, height_px=1,
            size_bytes=len(image), sha256="", image=image,
        )  # fmt: skip


def outage(*, folder: Path, say: Callable[[str], None], parts: int = PARTS) -> Section:
    """An hour of the demo line without a broker, and what arrives afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return asyncio.run(_outage(folder=folder, say=say, parts=parts))


async def _outage(*, folder: Path, say: Callable[[str], None], parts: int) -> Section:
    os.environ |= {
        "LINESIGHT_SPOOL_DIR": str(folder / "spool"),
        "LINESIGHT_SPOOL_DRAIN_MIB_PER_S": str(DRAIN_MIB_PER_S),
    }
    plant = load_plant(DEMO)
    process = psutil.Process()
    with LocalKafka(folder) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
        await ensure_topics(plant, kafka=kafka)
        broker.child.kill()
        before_mib, began_s, most_mib = _resident_mib(process), time.monotonic(), 0.0
        async with _line(plant, kafka, Stage("station_gateway"), session="hour") as line:
            for number in range(parts):
                await line.part(number, live=False)
                if number % 100 == 0:
                    most_mib = max(most_mib, _resident_mib(process))
            away = line.fates
        spool_s = time.monotonic() - began_s
        say(f"{3 * parts} frames on disk after {spool_s:.1f} s: {away.count(Fate.SPOOLED)} of {len(away)} records")
        await asyncio.to_thread(broker.start)
        began_s, live_parts = time.monotonic(), 0
        stage = Stage("station_gateway")
        async with _line(plant, kafka, stage, session="live") as line:
            while _records(stage) and time.monotonic() - began_s < DRAINED_WITHIN_S:
                await line.part(parts + live_parts, live=True)
                live_parts += 1
                most_mib = max(most_mib, _resident_mib(process))
                await asyncio.sleep(LIVE_EVERY_S)  # the belt's pace
            drain_s, live_ms = time.monotonic() - began_s, sorted(line.live_ms)
        say(f"sent after {drain_s:.1f} s, beside {live_parts} live parts")
        seen = await _seen(kafka, plant)
    shutil.rmtree(folder)
    lost = sum(parts - sum(n < parts for n in seen.frames.get(camera, [])) for camera in plant.cameras)
    lost_events = parts + live_parts - len(set(seen.events))
    unordered = sum(found != sorted(found) for found in (*map(partial(_old, parts), seen.frames.values()), seen.events))
    live_p99_ms = live_ms[int(len(live_ms) * 0.99)] if live_ms else float("inf")
    rows = [
        Row(name="an hour's outage: frames lost", value=lost, unit="frames", at_most=0),
        Row(name="an hour's outage: events lost", value=lost_events, unit="events", at_most=0),
        Row(name="an hour's outage: cameras and stations out of order", value=unordered, unit="keys", at_most=0),
        Row(name="an hour's outage: differences in the ledger", value=len(seen.differences), unit="frames", at_most=0),
        Row(name="an hour's outage: growth of memory", value=round(most_mib - before_mib, 1), unit="MiB", at_most=GROWTH_MIB),
        Row(name="an hour's outage: a live frame beside the backlog, p99", value=round(live_p99_ms, 1), unit="ms", at_most=LIVE_MS),
        Row(name="an hour's outage: taken in", value=round(3 * parts / spool_s, 1), unit="frames/s"),
        Row(name="an hour's outage: drained to the broker", value=round(3 * parts / drain_s, 1), unit="frames/s"),
    ]  # fmt: skip
    raw = {
        "frames": 3 * parts,
        "spool_s": round(spool_s, 1),
        "drain_s": round(drain_s, 1),
        "live_parts": live_parts,
        "live_acknowledged": len(live_ms),
        "marked_spooled": seen.late,
        "differences": seen.differences[:20],
    }
    return Section(rows=rows, raw={"outage": raw})


def _old(parts: int, numbers: Sequence[int]) -> list[int]:
    return [number for number in numbers if number < parts]


@asynccontextmanager
async def _line(plant: Plant, kafka: KafkaSettings, stage: Stage, *, session: str) -> AsyncIterator[Line]:
    """The line with a life of the publisher; at the end everything has its fate, and the manifests are told."""
    spool = open_spool(plant=plant.plant, stage=stage)
    publisher = RecordPublisher(plant=plant.plant, stage=stage, kafka=kafka, budget_bytes=BUDGET_BYTES, spool=spool)
    station = plant.stations[0].name
    books = {camera: ManifestBook(station=station, camera=camera, session=session) for camera in plant.cameras}
    async with publisher:
        line = Line(plant, publisher, books)
        yield line
        await publisher.drained(within_s=DRAINED_WITHIN_S)
        line.tell_manifests(closing=True)
        await publisher.drained(within_s=DRAINED_WITHIN_S)


async def _seen(kafka: KafkaSettings, plant: Plant) -> Seen:
    """Reads the topics to their ends; in the ledger every frame counts as inspected."""
    seen, ledger = Seen(), Ledger()
    known: set[str] = set()
    async for offset, late, frame in _messages(kafka, plant, FRAMES):
        seen.late += late
        if frame.id in known:
            continue
        known.add(frame.id)
        seen.frames.setdefault(frame.camera, []).append(int(frame.part_id))
        inspection = Inspection(
            id=frame.id, station=frame.station, camera=frame.camera, view=frame.view, session=frame.session,
            sequence=frame.sequence, part_id=frame.part_id, visit=1, outcome=FrameOutcome.INSPECTED, frame_partition=0,
            frame_offset=offset,
        )  # fmt: skip
        ledger.add(INSPECTIONS, inspection, partition=0, offset=len(known), at_ms=1)
    async for offset, _, manifest in _messages(kafka, plant, MANIFESTS):
        ledger.add(MANIFESTS, manifest, partition=0, offset=offset, at_ms=1)
    seen.events = list(dict.fromkeys([int(event.part_id) async for _, _, event in _messages(kafka, plant, PLC_EVENTS)]))
    report = ledger.report(now_ns=10**19, settle_ms=0)
    seen.differences = [f"{found.kind} {found.subject}: {found.found}" for found in report.differences]
    return seen


async def _messages(kafka: KafkaSettings, plant: Plant, topic: Topic) -> AsyncIterator[tuple[int, bool, Any]]:
    """Offset, whether it is marked as spooled, and message of each record, partition by partition in order."""
    async with AIOKafkaConsumer(**kafka.client(), auto_offset_reset="earliest", fetch_max_bytes=32 * MIB_BYTES,
                                max_partition_fetch_bytes=16 * MIB_BYTES) as consumer:  # fmt: skip
        name = topic.on(plant.plant)
        numbers = (await consumer._client.fetch_all_metadata()).partitions_for_topic(name)
        places = [TopicPartition(name, number) for number in sorted(numbers)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, 0)
            while await consumer.position(place) < ends[place]:
                for record in (await consumer.getmany(place, timeout_ms=500)).get(place, []):
                    yield record.offset, SPOOLED in dict(record.headers), decode(topic, record.value, record.headers)


def _records(stage: Stage) -> float:
    return stage.registry.get_sample_value("linesight_station_gateway_spool_records") or 0.0


def _resident_mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss / 2**20)


def main() -> None:
    """Measures, prints, writes the file. Exit status 1 where something is lost, out of order or too large."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", type=int, default=PARTS)
    parser.add_argument("--folder", type=Path, default=Path("run/bench-spool"))
    parser.add_argument("--out", type=Path, default=Path("run/spool_hour.json"))
    asked = parser.parse_args()
    then = machine()
    section = outage(folder=asked.folder, say=Console(stderr=True).log, parts=asked.parts)
    write(asked.out, rows=section.rows, machine_then=then, details=section.raw)
    for row in section.rows:
        print(f"{row.name}: {row.value:g} {row.unit}" + {True: "", False: "  NOT MET", None: ""}[row.met])
    raise SystemExit(any(row.met is False for row in section.rows))


if __name__ == "__main__":
    main()
