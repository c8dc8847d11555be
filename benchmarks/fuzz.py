"""Good frames at a steady rate, alone and then amid 10,000 damaged records: what the damage costs the good ones.

The same frames twice, to one inspect worker of its own process. Without damage and with it: inspections of good frames per s
in the middle of the run, and the time from the broker's receipt of a good frame to its inspection. That every damaged record
ends under its reason is the business of tests/integration/test_fuzz_live.py.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from rich.console import Console
from rich.table import Table

from benchmarks.bench_plants import BenchPlant
from benchmarks.frames import Picture, as_frames, board_pictures
from benchmarks.inspect_worker import NotInspected, worker_process
from benchmarks.results_file import Row, machine, steady_rate, write
from benchmarks.services import Services, services
from cli.readiness import is_ready
from ops.local.children import Child
from ops.local.ports import free_ports
from schemas.codec import Encoded, decode, encode
from schemas.inspections import Inspection
from schemas.reasons import FrameOutcome
from schemas.topics import DEAD_LETTERS, FRAMES, INSPECTIONS
from simulation.bad_records import bad_records

READY_S = 60.0
GIVE_UP_S = 120.0
AT_LEAST = 0.9
TICK_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What came of the good frames, and how many records were refused meanwhile."""

    good_per_s: float
    p50_ms: float
    p99_ms: float
    refused: int

    def as_json(self) -> dict[str, float]:
        """As the results file keeps it."""
        return {
            "good_per_s": round(self.good_per_s, 2),
            "p50_ms": round(self.p50_ms, 1),
            "p99_ms": round(self.p99_ms, 1),
            "refused": self.refused,
        }


class Flow:
    """One worker, and good frames to it."""

    def __init__(self, services: Services, plant: BenchPlant, *, rate_per_s: float, good: int) -> None:
        self._services = services
        self._plant = plant
        self._rate_per_s = rate_per_s
        self._good = good
        self._pictures: list[Picture] = board_pictures(plant.plant, plant.file.parent)

    def phase(self, session: str, *, bad: int, seed: int) -> Phase:
        """All good frames at their rate, with `bad` damaged records evenly among them."""
        consumer = self._at_the_end()
        good = self._frames(session)
        damaged = self._damaged(session, bad=bad, seed=seed)
        self._produce(good, damaged, bad_per_good=bad / self._good)
        done_at_s: list[float] = []
        waited_ms: list[float] = []
        refused = 0
        give_up_at = time.monotonic() + GIVE_UP_S
        while len(done_at_s) < self._good or refused < self._least_refused(bad):
            if time.monotonic() > give_up_at:
                raise NotInspected(f"{len(done_at_s)} of {self._good} good frames were inspected, {refused} refused")
            for place, records in consumer.poll(timeout_ms=100).items():
                if place.topic == DEAD_LETTERS.on(self._plant.plant.plant):
                    refused += len(records)
                    continue
                for record in records:
                    inspection: Inspection = decode(INSPECTIONS, record.value, record.headers)
                    if inspection.session != session:
                        continue
                    if inspection.outcome is not FrameOutcome.INSPECTED:
                        raise NotInspected(f"{inspection.id}: {inspection.reason} {inspection.detail}")
                    done_at_s.append(record.timestamp / 1000)
                    waited_ms.append((inspection.inspected_at_ns - inspection.received_at_ns) / 1e6)
        consumer.close()
        p50, p99 = np.percentile(waited_ms, [50, 99])
        return Phase(good_per_s=steady_rate(done_at_s), p50_ms=float(p50), p99_ms=float(p99), refused=refused)

    @staticmethod
    def _least_refused(bad: int) -> int:
        """Some damage does no harm (a trace that is none, a bit of a picture), but not most of it."""
        return bad // 2

    def _frames(self, session: str) -> Iterator[Encoded]:
        frames = as_frames(
            self._pictures,
            count=self._good,
            session=session,
            inline_limit_bytes=self._plant.plant.kafka.inline_limit_bytes,
            store=self._services.folder / "objects",
        )
        return (encode(FRAMES, frame) for frame in frames)

    def _damaged(self, session: str, *, bad: int, seed: int) -> Iterator[tuple[bytes | None, list[tuple[str, bytes]]]]:
        sample = next(
            as_frames(
                self._pictures,
                count=1,
                session=session,
                inline_limit_bytes=1 << 22,
                store=self._services.folder / "objects",
            )
        )
        return ((record.value, record.headers) for record in list(bad_records(sample, count=bad, seed=seed)))

    def _produce(
        self,
        good: Iterator[Encoded],
        damaged: Iterator[tuple[bytes | None, list[tuple[str, bytes]]]],
        *,
        bad_per_good: float,
    ) -> None:
        name = FRAMES.on(self._plant.plant.plant)
        producer = KafkaProducer(**self._services.kafka.client(), acks="all", linger_ms=5, max_request_size=8 << 20)
        began_s, sent_bad = time.monotonic(), 0
        for number, encoded in enumerate(good):
            while (ahead_s := began_s + number / self._rate_per_s - time.monotonic()) > 0:
                time.sleep(min(ahead_s, TICK_S))
            key = dict(encoded.headers)["camera"]
            producer.send(name, key=key, value=encoded.value, headers=encoded.headers)
            due = int((number + 1) * bad_per_good) - sent_bad
            sent_bad += due
            for value, headers in itertools.islice(damaged, due):
                producer.send(name, key=key, value=value, headers=headers)
        producer.flush()
        producer.close()

    def _at_the_end(self) -> KafkaConsumer:
        plant = self._plant.plant
        places = [
            TopicPartition(topic.on(plant.plant), number)
            for topic in (INSPECTIONS, DEAD_LETTERS)
            for number in range(plant.kafka.partitions)
        ]
        consumer = KafkaConsumer(**self._services.kafka.client())
        known = [place for place in places if place.partition in (consumer.partitions_for_topic(place.topic) or ())]
        consumer.assign(known)
        for place, end in consumer.end_offsets(known).items():
            consumer.seek(place, end)
        return consumer


def measure(
    services: Services, *, rate_per_s: float, good: int, bad: int, seed: int
) -> tuple[list[Row], dict[str, object]]:
    """Without damage, with it, and without it again."""
    plant = services.plants.golden()
    services.make_topics(plant.plant)
    port = free_ports(1)[0]
    worker: Child = worker_process(services, plant, more={"LINESIGHT_METRICS_PORT": str(port)})
    worker.start()
    try:
        give_up_at = time.monotonic() + READY_S
        while not is_ready(port):
            if time.monotonic() > give_up_at:
                raise NotInspected(f"the worker is not ready; see {worker.log_path}")
            time.sleep(0.1)
        flow = Flow(services, plant, rate_per_s=rate_per_s, good=good)
        before = flow.phase("before", bad=0, seed=seed)
        amid = flow.phase("amid", bad=bad, seed=seed)
        after = flow.phase("after", bad=0, seed=seed)
        if worker.poll() is not None:
            raise NotInspected(f"the worker ended with {worker.poll()}; see {worker.log_path}")
    finally:
        worker.stop()
    alone = (before.good_per_s + after.good_per_s) / 2
    rows = [
        Row(name="good frames amid damaged records / alone", value=round(amid.good_per_s / alone, 3), unit="ratio", at_least=AT_LEAST),
        Row(name="good frames alone", value=round(alone, 1), unit="frames/s"),
        Row(name="good frames amid damaged records", value=round(amid.good_per_s, 1), unit="frames/s"),
        Row(name="damaged records", value=round(bad * rate_per_s / good, 1), unit="records/s"),
        Row(name="receipt to inspection alone, p99", value=round(max(before.p99_ms, after.p99_ms), 1), unit="ms"),
        Row(name="receipt to inspection amid damaged records, p99", value=round(amid.p99_ms, 1), unit="ms"),
    ]  # fmt: skip
    return rows, {
        "before": before.as_json(),
        "amid": amid.as_json(),
        "after": after.as_json(),
        "bad": bad,
        "seed": seed,
    }


def main() -> None:
    """Measures, prints a table and writes `run/fuzz.json`; exit 1 where the good frames lose more than a tenth."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--good", type=int, default=5000, help="good frames in each of the three phases")
    parser.add_argument("--bad", type=int, default=10_000, help="damaged records")
    parser.add_argument("--rate", type=float, default=50.0, help="good frames per s")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("run/fuzz.json"))
    options = parser.parse_args()
    then = machine()
    with services() as found:
        rows, details = measure(found, rate_per_s=options.rate, good=options.good, bad=options.bad, seed=options.seed)
    write(options.out, rows=rows, machine_then=then, details=details)
    table = Table("what", "value", "unit", "at least")
    for row in rows:
        table.add_row(row.name, f"{row.value:g}", row.unit, "" if row.at_least is None else f"{row.at_least:g}")
    Console().print(table)
    print(f"written to {options.out}")
    sys.exit(any(row.met is False for row in rows))


if __name__ == "__main__":
    main()
