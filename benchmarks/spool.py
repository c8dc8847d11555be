"""The disk spool: its rates beside a plain file on the same disk, and an hour's outage with a real broker.

    .venv/bin/python -m benchmarks.spool [--rounds 5] [--folder run/bench-spool] [--no-outage] [--out run/spool.json]

Each round writes the same values one after the other: to a plain file, through the spool, and to SQLite (as a queue table, WAL), all
synced every 200 ms and at the end; then reads them back, each from a cold page cache. The candidates take turns, in another order in
each round. A value is written whole, as it comes, by all of them; the spool's rate includes its checksums, its bounds and its
position file, its drain includes the acknowledgements.

The outage: a broker that is killed, an hour of the demo's frames (43,200 of 28 kB) and events (43,200) submitted as fast as the gateway
takes them, the gateway's publisher stopped and started again, the broker back, everything drained at full speed and read from the topics.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console

from benchmarks.results_file import Row, Section, machine, ratio, write
from gateways.outbox import Fate
from gateways.publisher import RecordPublisher
from gateways.segment import Envelope
from gateways.spool import Spool, open_spool
from ops.local.kafka import LocalKafka
from schemas.codec import decode
from schemas.frames import Frame, ImageEncoding, frame_id
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.plc_events import PartLeft
from schemas.settings import KafkaSettings, SpoolSettings
from schemas.telemetry import Stage
from schemas.topics import FRAMES, MIB_BYTES, PLC_EVENTS, Topic
from topologies.topic_admin import ensure_topics

DEMO = Path(__file__).parents[1] / "plants" / "demo.yaml"
SYNC_S = 0.2
SIZES = {"2 MB": (2_000_000, 300), "28 kB": (28_000, 8_000)}
AT_LEAST = 0.5
HOUR = 43_200
FRAME_BYTES = 28_000
READ_WITHIN_S = 120.0


class PlainFile:
    """One file, written in order."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "plain"

    def write(self, values: Sequence[bytes]) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        sync_s = time.monotonic() + SYNC_S
        for value in values:
            os.write(file, value)
            if time.monotonic() >= sync_s:
                os.fdatasync(file)
                sync_s = time.monotonic() + SYNC_S
        os.fdatasync(file)
        os.close(file)

    def read(self, count: int, size_bytes: int) -> int:
        with self._path.open("rb", buffering=0) as file:
            return sum(len(file.read(size_bytes)) for _ in range(count))


class Spooled:
    """The spool of a gateway."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "spool"

    def _open(self) -> Spool:
        return Spool(self._folder, settings=SpoolSettings(max_mib=1 << 20, sync_ms=int(SYNC_S * 1000)))

    def write(self, values: Sequence[bytes]) -> None:
        spool = self._open()
        sync_s = time.monotonic() + SYNC_S
        for value in values:
            spool.append(Envelope("frames", b"camera", [], time.time_ns()), value, droppable=True)
            if time.monotonic() >= sync_s:
                spool.sync()
                sync_s = time.monotonic() + SYNC_S
        spool.sync()
        spool.close()

    def read(self, count: int, size_bytes: int) -> int:
        spool, found = self._open(), 0
        for _ in range(count):
            taken = spool.take(spool.droppable)
            assert taken is not None
            found += len(taken.record.value)
            spool.droppable.acknowledge(taken.number)
        spool.reclaim()
        spool.close()
        return found


class Sqlite:
    """A table as a queue: what a spool would be without code of its own. Committed, and so synced, as often as the others."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "queue.db"

    def _open(self) -> sqlite3.Connection:
        queue = sqlite3.connect(self._path, isolation_level=None)
        queue.execute("PRAGMA journal_mode=WAL")
        queue.execute("PRAGMA synchronous=FULL")
        return queue

    def write(self, values: Sequence[bytes]) -> None:
        queue = self._open()
        queue.execute(
            "CREATE TABLE queue (number INTEGER PRIMARY KEY, topic TEXT, key BLOB, at_ns INTEGER, value BLOB)"
        )
        queue.execute("BEGIN")
        sync_s = time.monotonic() + SYNC_S
        for value in values:
            queue.execute("INSERT INTO queue VALUES (NULL, 'frames', 'camera', ?, ?)", (time.time_ns(), value))
            if time.monotonic() >= sync_s:
                queue.execute("COMMIT")
                queue.execute("BEGIN")
                sync_s = time.monotonic() + SYNC_S
        queue.execute("COMMIT")
        queue.close()

    def read(self, count: int, size_bytes: int) -> int:
        queue = self._open()
        found = sum(len(value) for (value,) in queue.execute("SELECT value FROM queue ORDER BY number"))
        queue.close()
        return found


CANDIDATES: dict[str, Callable[[Path], PlainFile | Spooled | Sqlite]] = {
    "plain file": PlainFile,
    "spool": Spooled,
    "sqlite": Sqlite,
}


def rates(*, rounds: int, folder: Path, say: Callable[[str], None]) -> Section:
    """Write and read rates of each candidate and size, as ratios to the plain file's."""
    raw: dict[str, Any] = {}
    rows: list[Row] = []
    for size, (size_bytes, count) in SIZES.items():
        values = [os.urandom(size_bytes) for _ in range(min(count, 40))]
        values = [values[number % len(values)] for number in range(count)]
        found: dict[str, dict[str, list[float]]] = {name: {"write": [], "read": []} for name in CANDIDATES}
        for turn in range(rounds):
            names = list(CANDIDATES)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                write_s, read_s = _measure(CANDIDATES[name], values, folder=folder)
                for what, seconds in (("write", write_s), ("read", read_s)):
                    found[name][what].append(round(size_bytes * count / seconds / 1e6, 1))
            say(
                f"{size}, round {turn + 1} of {rounds}: "
                + ", ".join(f"{n} {f['write'][-1]:g}" for n, f in found.items())
            )
        raw[size] = found
        floor = AT_LEAST if size == "2 MB" else None
        for name in ("spool", "sqlite"):
            least = floor if name == "spool" else None
            rows += [
                ratio(f"{name}: write at {size} / plain file", found[name]["write"], found["plain file"]["write"], at_least=least),
                ratio(f"{name}: drain at {size} / plain file read", found[name]["read"], found["plain file"]["read"], at_least=least),
            ]  # fmt: skip
    return Section(rows=rows, raw=raw)


def outage(*, folder: Path, say: Callable[[str], None]) -> Section:
    """An hour of the demo line without a broker, and what arrives afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return asyncio.run(_outage(folder=folder, say=say))


def rows(*, rounds: int, folder: Path, say: Callable[[str], None], with_outage: bool = True) -> Section:
    """Everything, for `make bench-floor`."""
    parts = [rates(rounds=rounds, folder=folder, say=say)]
    if with_outage:
        parts.append(outage(folder=folder, say=say))
    return Section(
        rows=[row for part in parts for row in part.rows], raw={k: v for part in parts for k, v in part.raw.items()}
    )


def main() -> None:
    """Measures, prints, writes the file. Exit status 1 where a floor is not reached."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("run/bench-spool"), help="on the disk to measure")
    parser.add_argument("--no-outage", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("run/spool.json"))
    asked = parser.parse_args()
    then = machine()
    console = Console(stderr=True)
    section = rows(rounds=asked.rounds, folder=asked.folder, say=console.log, with_outage=not asked.no_outage)
    write(asked.out, rows=section.rows, machine_then=then, details=section.raw)
    for row in section.rows:
        print(f"{row.name}: {row.value:g} {row.unit}" + {True: "", False: "  NOT MET", None: ""}[row.met])
    raise SystemExit(any(row.met is False for row in section.rows))


def _measure(
    candidate: Callable[[Path], PlainFile | Spooled | Sqlite], values: Sequence[bytes], *, folder: Path
) -> tuple[float, float]:
    """Seconds to write and to read back."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = candidate(folder)
    began_s = time.monotonic()
    made.write(values)
    write_s = time.monotonic() - began_s
    _forget_cached(folder)
    began_s = time.monotonic()
    found = made.read(len(values), len(values[0]))
    read_s = time.monotonic() - began_s
    assert found == sum(map(len, values)), "everything came back"
    shutil.rmtree(folder)
    return write_s, read_s


def _forget_cached(folder: Path) -> None:
    """Puts the page cache out of the way of what is to be read."""
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


async def _outage(*, folder: Path, say: Callable[[str], None]) -> Section:
    os.environ |= {"LINESIGHT_SPOOL_DIR": str(folder / "spool"), "LINESIGHT_SPOOL_DRAIN_MIB_PER_S": "10000"}
    plant = load_plant(DEMO)
    fates: dict[Fate, int] = dict.fromkeys(Fate, 0)

    def count(fate: Fate) -> None:
        fates[fate] += 1

    with LocalKafka(folder) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
        await ensure_topics(plant, kafka=kafka)
        broker.child.kill()
        began_s = time.monotonic()
        async with _publisher(plant, kafka, Stage("station_gateway")) as first:
            for topic, key, message in _an_hour(plant):
                if topic is FRAMES:
                    await first.room()
                first.submit(topic, key, message, tell=count, droppable=topic is FRAMES)
            await first.drained(within_s=READ_WITHIN_S)
        spool_s = time.monotonic() - began_s
        say(f"an hour is on disk after {spool_s:.1f} s: {fates[Fate.SPOOLED]} of {2 * HOUR} records")
        await asyncio.to_thread(broker.start)
        began_s = time.monotonic()
        stage = Stage("station_gateway")
        async with _publisher(plant, kafka, stage):
            while True:
                if not stage.registry.get_sample_value("linesight_station_gateway_spool_records"):
                    break
                await asyncio.sleep(0.2)
        drain_s = time.monotonic() - began_s
        say(f"and at the broker after {drain_s:.1f} s")
        frames = await _sequences(kafka, plant, FRAMES)
        events = await _sequences(kafka, plant, PLC_EVENTS)
    shutil.rmtree(folder)
    lost = sum(HOUR - len(set(found)) for found in (frames, events))
    unordered = sum(list(dict.fromkeys(found)) != list(range(HOUR)) for found in (frames, events))
    rows = [
        Row(name="an hour's outage: frames and events lost", value=lost, unit="records", at_most=0),
        Row(name="an hour's outage: topics out of order", value=unordered, unit="topics", at_most=0),
        Row(name="an hour's outage: drained to the broker", value=round(HOUR / drain_s, 1), unit="frames/s"),
    ]
    raw = {
        "spool_s": round(spool_s, 1),
        "drain_s": round(drain_s, 1),
        "fates": fates,
        "frames": len(frames),
        "events": len(events),
    }
    return Section(rows=rows, raw={"outage": raw})


def _publisher(plant: Plant, kafka: KafkaSettings, stage: Stage) -> RecordPublisher:
    spool = open_spool(plant=plant.plant, stage=stage)
    return RecordPublisher(plant=plant.plant, stage=stage, kafka=kafka, budget_bytes=64 * MIB_BYTES, spool=spool)


def _an_hour(plant: Plant) -> Iterator[tuple[Topic, str, Any]]:
    """Frames of one camera and events of one station, in turns: so that each topic's order can be read off its numbers."""
    camera = next(iter(plant.cameras))
    station = plant.station_of(camera)
    assert station is not None
    picture = os.urandom(FRAME_BYTES)
    for number in range(HOUR):
        image = number.to_bytes(4, "big") + picture[4:]
        yield FRAMES, camera, Frame(
            id=frame_id(camera=camera, session="hour", sequence=number), station=station.name, camera=camera, view="v",
            session="hour", sequence=number, part_id=str(number), visit=1, recipe="r@1", captured_at_ns=1,
            encoding=ImageEncoding.JPEG, width_px=1, height_px=1, size_bytes=len(image), sha256="", image=image,
        )  # fmt: skip
        yield PLC_EVENTS, station.name, PartLeft(
            id=f"{station.name}/{number}/1/left", station=station.name, part_id=str(number), visit=1, lane="good",
            by_fail_safe=False, occurred_at_ns=1,
        )  # fmt: skip


async def _sequences(kafka: KafkaSettings, plant: Plant, topic: Topic) -> list[int]:
    """The numbers of all records of a topic that has one key, in order; read from header or id, bodies are not decoded twice."""
    found: list[int] = []
    async with AIOKafkaConsumer(**kafka.client(), auto_offset_reset="earliest", fetch_max_bytes=32 * MIB_BYTES,
                                max_partition_fetch_bytes=16 * MIB_BYTES) as consumer:  # fmt: skip
        name = topic.on(plant.plant)
        await consumer._client._wait_on_metadata(name)
        places = [TopicPartition(name, number) for number in sorted(consumer.partitions_for_topic(name) or ())]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, 0)
            while await consumer.position(place) < ends[place]:
                for record in (await consumer.getmany(place, timeout_ms=500)).get(place, []):
                    headers = dict(record.headers)
                    found.append(
                        int(
                            headers["sequence"]
                            if topic is FRAMES
                            else decode(topic, record.value, record.headers).part_id
                        )
                    )
    return found


if __name__ == "__main__":
    main()
