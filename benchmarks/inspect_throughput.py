"""`make bench`: throughput of the inspect stage, beside Triton's own ceiling and beside a naive loop.

One run, one machine, one Kafka, one Triton, the same frames, the three candidates in turn, several rounds; the middle
round of each counts. The stage does all of its work (checks, decoding, alignment, comparison, classification, order,
acknowledged results, commits); the ceiling does only the comparison, of tensors that were decoded before; the naive loop
decodes and compares.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from kafka import KafkaConsumer, TopicPartition
from rich.console import Console
from rich.table import Table

from benchmarks.frames import as_frames, board_pictures, publish
from benchmarks.plot import bars
from benchmarks.results_file import Row, machine, write
from benchmarks.triton_ceiling import ceiling
from ops.local.children import Child
from ops.local.kafka import LocalKafka
from ops.local.triton import LocalTriton
from schemas.codec import decode
from schemas.plant_file import load_plant
from schemas.reasons import FrameOutcome
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT, FRAMES, INSPECTIONS
from topologies.topic_admin import ensure_topics

CHECKOUT = Path(__file__).resolve().parents[1]
PLANT_FILE = CHECKOUT / "plants" / "demo.yaml"
DEADLINE_S = 180.0
WARM_SHARE = 0.1  # at the beginning and at the end, where a candidate starts up or runs dry


def steady_rate(done_at_s: Sequence[float]) -> float:
    """Frames per s of the middle of a run, from the times at which frames were done."""
    times = sorted(done_at_s)
    first, last = int(len(times) * WARM_SHARE), int(len(times) * (1 - WARM_SHARE)) - 1
    return (last - first) / (times[last] - times[first])


class Bench:
    """The services, and one measurement per candidate."""

    def __init__(self, *, run_dir: Path, kafka: KafkaSettings, triton_url: str, frames: int) -> None:
        self._run_dir = run_dir
        self._kafka = kafka
        self._triton_url = triton_url
        self._frames = frames
        self._plant = load_plant(PLANT_FILE)
        self._pictures = board_pictures(self._plant, PLANT_FILE.parent)

    def triton_alone(self) -> dict[int, float]:
        """Frames per s of the ceiling, by requests in flight."""
        return ceiling(self._triton_url, self._pictures, count=self._frames)

    def inspect(self, number: int) -> float:
        """Frames per s of the inspect stage with a backlog before it."""
        session = f"round-{number}"
        asyncio.run(ensure_topics(self._plant, kafka=self._kafka))
        frames = as_frames(self._pictures, count=self._frames, session=session)
        publish(frames, kafka=self._kafka, plant=self._plant.plant)
        stage = Child(
            name="inspect",
            command=[sys.executable, "-m", "cli.main", "run", "inspect", "--plant", PLANT_FILE],
            log_dir=self._run_dir / "logs",
            cwd=CHECKOUT,
            env={
                **os.environ,
                "KAFKA_BOOTSTRAP_SERVERS": self._kafka.bootstrap_servers,
                "TRITON_URL": self._triton_url,
                "OBJECT_STORE_URL": str(self._run_dir / "objects"),
                "LINESIGHT_LOG_LEVEL": "WARNING",
            },
        )
        stage.start()
        try:
            return steady_rate(self._inspected_at_s(session))
        finally:
            stage.stop()

    def _inspected_at_s(self, session: str) -> list[float]:
        """When each inspection of a session was produced; waits until all are there."""
        name = INSPECTIONS.on(self._plant.plant)
        consumer = KafkaConsumer(**self._kafka.client(), consumer_timeout_ms=int(DEADLINE_S * 1000))
        places = [TopicPartition(name, number) for number in range(self._plant.kafka.partitions)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        done_at_s: list[float] = []
        for record in consumer:
            inspection = decode(INSPECTIONS, record.value, record.headers)
            if inspection.session != session:
                continue
            if inspection.outcome is not FrameOutcome.INSPECTED:
                sys.exit(f"{inspection.id} was not inspected: {inspection.reason} {inspection.detail}")
            done_at_s.append(record.timestamp / 1000)
            if len(done_at_s) == self._frames:
                consumer.close()
                return done_at_s
        sys.exit(
            f"only {len(done_at_s)} of {self._frames} frames were inspected within {DEADLINE_S:g} s; see {self._run_dir}/logs"
        )

    def naive_loop(self, number: int) -> float:
        """Frames per s of the naive loop with the same backlog."""
        plant = msgspec.structs.replace(self._plant, plant=f"naive-{number}")
        asyncio.run(ensure_topics(plant, kafka=self._kafka, topics=(FRAMES, AUDIT)))
        frames = as_frames(self._pictures, count=self._frames, session=f"round-{number}")
        publish(frames, kafka=self._kafka, plant=plant.plant)
        answer = subprocess.run(
            [
                sys.executable, "-m", "benchmarks.peers.naive_loop",
                self._kafka.bootstrap_servers, self._triton_url, FRAMES.on(plant.plant), AUDIT.on(plant.plant),
                str(self._frames), str(PLANT_FILE.parent / "references"),
            ],
            capture_output=True, text=True, check=True, timeout=DEADLINE_S, cwd=CHECKOUT,
        )  # fmt: skip
        return steady_rate(json.loads(answer.stdout))


Rates = dict[str, list[float]]
"""Frames per s of each candidate, round by round."""


def measure(bench: Bench, *, rounds: int, say: Callable[[str], None]) -> tuple[list[Row], Rates]:
    """All candidates in turn, `rounds` times; the ratios of their middle rounds, and the raw figures."""
    alone: list[dict[int, float]] = []
    inspect: list[float] = []
    naive: list[float] = []
    for number in range(rounds):
        alone.append(bench.triton_alone())
        say(f"round {number + 1}/{rounds}: Triton alone {max(alone[-1].values()):.0f} frames/s")
        inspect.append(bench.inspect(number))
        say(f"round {number + 1}/{rounds}: inspect stage {inspect[-1]:.0f} frames/s")
        naive.append(bench.naive_loop(number))
        say(f"round {number + 1}/{rounds}: naive loop {naive[-1]:.0f} frames/s")
    ours = statistics.median(inspect)
    most = statistics.median(max(rates.values()) for rates in alone)
    theirs = statistics.median(naive)
    rows = [
        Row(name="inspect throughput / Triton ceiling", value=round(ours / most, 3), unit="ratio"),
        Row(name="inspect throughput / naive loop", value=round(ours / theirs, 3), unit="ratio"),
        Row(name="inspect throughput", value=round(ours, 1), unit="frames/s"),
        Row(name="Triton ceiling", value=round(most, 1), unit="frames/s"),
        Row(name="naive loop", value=round(theirs, 1), unit="frames/s"),
    ]
    return rows, {
        "Triton ceiling": [max(rates.values()) for rates in alone],
        "inspect stage": inspect,
        "naive loop": naive,
    }


def main() -> None:
    """Measures, prints a table and writes `run/bench.json`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=600, help="frames per candidate and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("run/bench.json"))
    options = parser.parse_args()
    console = Console(stderr=True)
    then = machine()
    with (
        tempfile.TemporaryDirectory(prefix="linesight-bench-") as folder,
        console.status("starting Kafka and Triton") as status,
        LocalKafka(Path(folder)) as kafka,
        LocalTriton(Path(folder), CHECKOUT / "triton_models") as triton,
    ):
        status.update("measuring")
        bench = Bench(
            run_dir=Path(folder),
            kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap_servers),
            triton_url=triton.url,
            frames=options.frames,
        )
        rows, rates = measure(bench, rounds=options.rounds, say=console.log)
    write(options.out, rows=rows, machine_then=then, details={"frames_per_s_by_round": rates})
    bars(options.out.with_suffix(".png"), rates, unit="frames/s")
    table = Table("what", "value", "unit", title=f"{then['cores']} cores, load {then['load_1_min']} before the run")
    for row in rows:
        table.add_row(row.name, f"{row.value:g}", row.unit)
    Console().print(table)
    print(f"written to {options.out} and {options.out.with_suffix('.png')}")


if __name__ == "__main__":
    main()
