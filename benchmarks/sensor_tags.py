"""20 PLCs with 64 tags each, sampled every 100 ms by one sensor gateway: what is lost between PLC and topic, and the processor time.

The PLCs (asyncua servers in a few processes, encrypted as is the default) count each tag's samples and write the count into the tag, so a
sample that is missing on the topic has a number. Ten samples of a tag travel in one message (`block_samples: 10`).
`python -m benchmarks.sensor_tags [--seconds 30] [--plcs 20]` writes run/sensor-tags.json.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.bench_plants import CHECKOUT
from benchmarks.cpu_time import used_s
from benchmarks.peers.asyncua_tags import BEFORE, AsyncuaTags
from benchmarks.results_file import Row, Section, machine, write
from cli.readiness import is_ready
from cli.simulated_plant import choose_ports
from gateways.certificates import write_pair
from ops.local.children import Child
from ops.local.kafka import LocalKafka
from ops.local.ports import free_ports
from schemas.plant import Asset, Channel, Line, Plant, Plc
from schemas.settings import KafkaSettings
from schemas.topics import SENSORS
from topologies.topic_admin import ensure_topics
from topologies.topic_reader import TopicReader

PLCS, TAGS, SAMPLE_MS, BLOCK_SAMPLES = 20, 64, 100, 10
SERVERS_PER_PROCESS = 5
SETTLE_S, SETTLED_WITHIN_S, READY_S = 3.0, 60.0, 60.0


def sensor_tags(*, seconds: float, plcs: int = PLCS) -> Section:
    """One run."""
    choose_ports()
    with tempfile.TemporaryDirectory(prefix="linesight-bench-") as folder, LocalKafka(Path(folder)) as broker:
        return asyncio.run(_run(broker, Path(folder), seconds=seconds, plcs=plcs))


async def _run(broker: LocalKafka, folder: Path, *, seconds: float, plcs: int) -> Section:
    ports = free_ports(plcs)
    plant = _plant(ports)
    for name, server in (("linesight", False), ("plc", True)):
        pair = folder / f"{name}.der", folder / f"{name}.key"
        write_pair(*pair, name=name, application_uri=f"urn:linesight:bench:{name}", server=server)
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    await ensure_topics(plant, kafka=kafka, topics=(SENSORS,))
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                AsyncuaTags(
                    ports=ports[first : first + SERVERS_PER_PROCESS],
                    tags=TAGS,
                    namespace=plant.plcs[0].namespace,
                    sample_ms=SAMPLE_MS,
                    certificate=folder / "plc.der",
                )
            )
            for first in range(0, plcs, SERVERS_PER_PROCESS)
        ]  # fmt: skip
        with _gateway(plant, folder, broker) as gateway:
            await asyncio.sleep(SETTLE_S)
            pids = {"gateway": [gateway.pid], "PLCs": [server.pid for server in servers], "broker": [broker.child.pid]}
            before = {name: used_s(found) for name, found in pids.items()}
            began_s = time.perf_counter()
            await asyncio.gather(*(server.ask("count") for server in servers))
            await asyncio.sleep(seconds)
            given = {tag: count for server in servers for tag, count in (await server.ask("stop")).items()}
            took_s = time.perf_counter() - began_s
            cores = {name: (used_s(found) - before[name]) / took_s for name, found in pids.items()}
            found = await _settled(kafka, plant, given)
    lost = sum(len(set(range(1, count + 1)) - found[tag]) for tag, count in given.items())
    due = int(seconds * 1000 / SAMPLE_MS) * TAGS * plcs
    what = f"{TAGS} tags x {plcs} PLCs at {SAMPLE_MS} ms"
    rows = [
        Row(name=f"{what}: samples that a PLC gave and the topic does not have", value=lost, unit="samples", at_most=0),
        Row(name=f"{what}: samples that the PLCs took / due", value=round(sum(given.values()) / due, 4), unit="ratio"),
        Row(name=f"{what}: samples taken / due", value=round((sum(given.values()) - lost) / due, 4), unit="ratio", at_least=0.999),
        Row(name=f"{what}: rate", value=round((sum(given.values()) - lost) / took_s, 1), unit="samples/s"),
        *(Row(name=f"{what}: CPU, {name}", value=round(used, 2), unit="cores") for name, used in cores.items()),
    ]  # fmt: skip
    raw = {
        "seconds": round(took_s, 1),
        "given": sum(given.values()),
        "found": sum(map(len, found.values())),
        "due": due,
    }
    return Section(rows=rows, raw=raw)


@contextmanager
def _gateway(plant: Plant, folder: Path, broker: LocalKafka) -> Iterator[Child]:
    """`linesight run sensor-gateway`, ready."""
    file = folder / "plant.yaml"
    file.write_bytes(msgspec.json.encode(_without_nulls(msgspec.to_builtins(plant))))  # JSON is YAML
    (port,) = free_ports(1)
    child = Child(
        name="sensor-gateway",
        command=[sys.executable, "-m", "cli.main", "run", "sensor-gateway", "--plant", file],
        log_dir=folder / "logs",
        cwd=CHECKOUT,
        env={
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "LINESIGHT_METRICS_PORT": str(port),
            "LINESIGHT_LOG_LEVEL": "WARNING",
            "LINESIGHT_SPOOL_DIR": str(folder / "spool"),
        },
    )
    child.start()
    try:
        child.wait_ready(partial(is_ready, port), deadline_s=READY_S, advice=f"See {child.log_path}.")
        yield child
    finally:
        child.stop()


def _without_nulls(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _without_nulls(value) for key, value in found.items() if value is not None}
    return [_without_nulls(value) for value in found] if isinstance(found, list | tuple) else found


def _plant(ports: list[int]) -> Plant:
    """A plant of machines alone: one for each PLC, which is named after its port."""
    channels = tuple(
        Channel(name=str(number), unit="1", node=f"s=Tag.{number}", sample_ms=SAMPLE_MS, block_samples=BLOCK_SAMPLES)
        for number in range(TAGS)
    )
    return Plant(
        plant="tags",
        lines=(Line(name="line", stations=()),),
        recipes=(),
        plcs=tuple(
            Plc(
                name=str(port),
                endpoint=f"opc.tcp://127.0.0.1:{port}/",
                certificate="linesight.der",
                private_key="linesight.key",
                server_certificate="plc.der",
            )
            for port in ports
        ),
        assets=tuple(Asset(name=str(port), line="line", plc=str(port), channels=channels) for port in ports),
    )


async def _settled(kafka: KafkaSettings, plant: Plant, given: dict[str, int]) -> dict[str, set[int]]:
    """The counts on the topic, by tag, once it has all that were given, at the latest after `SETTLED_WITHIN_S`."""
    give_up_s = time.monotonic() + SETTLED_WITHIN_S
    while True:
        await asyncio.sleep(SETTLE_S)
        found = await _values(kafka, plant)
        if sum(map(len, found.values())) >= sum(given.values()) or time.monotonic() > give_up_s:
            return found


async def _values(kafka: KafkaSettings, plant: Plant) -> dict[str, set[int]]:
    """The counts that are on the topic, by tag."""
    found: dict[str, set[int]] = defaultdict(set)
    async with TopicReader(plant=plant, kafka=kafka) as reader:
        async for stored in reader.read((SENSORS,), await reader.spans((SENSORS,))):
            reading = stored.message
            values = np.frombuffer(reading.waveform, "<f4")
            found[f"{reading.asset}/{reading.channel}"] |= {int(one) for one in values if one != BEFORE}
    return found


def main() -> None:
    """Measures, prints, writes the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--plcs", type=int, default=PLCS)
    asked = parser.parse_args()
    then = machine()
    section = sensor_tags(seconds=asked.seconds, plcs=asked.plcs)
    for row in section.rows:
        print(f"{row.name}: {row.value:g} {row.unit}" + {True: "", False: "  NOT MET", None: ""}[row.met])
    write(Path("run/sensor-tags.json"), rows=section.rows, machine_then=then, details=section.raw)


if __name__ == "__main__":
    main()
