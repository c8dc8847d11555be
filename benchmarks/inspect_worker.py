"""The inspect stage with a backlog before it: how fast it is done, and what processor time it takes."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from benchmarks.bench_plants import CHECKOUT, BenchPlant
from benchmarks.cpu_time import used_s
from benchmarks.frames import Picture, as_frames, publish
from benchmarks.results_file import WARM_SHARE, load, steady_rate
from benchmarks.services import Services
from cli.readiness import is_ready
from ops.local.children import Child
from ops.local.ports import free_ports
from schemas.codec import decode
from schemas.inspections import Inspection
from schemas.reasons import FrameOutcome
from schemas.topics import INSPECTIONS

DEADLINE_S = 180.0
READY_S = 60.0
FETCH_BYTES, FETCH_WAIT_MS = 64 << 10, 500
"""Of who counts the inspections: few large reads take less from the workers. Rates are from the records' own times."""
REMOTE = {"TRITON_SHARED_MEMORY": "off"}
"""The stage's setting for a server on another machine."""

_sessions = itertools.count()


class NotInspected(Exception):
    """A frame had another outcome than being inspected, or none in time: there is nothing to measure."""


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """One backlog worked off. In the middle of the run: `cpu_ms_per_frame` of all workers together, `cores_used` by whom."""

    frames_per_s: float
    cpu_ms_per_frame: float
    cores_used: Mapping[str, float]
    batch: float
    load_1_min: float

    def as_json(self) -> dict[str, Any]:
        """One round, as the results file keeps it."""
        return {
            "frames_per_s": round(self.frames_per_s, 1),
            "cpu_ms_per_frame": round(self.cpu_ms_per_frame, 3),
            "cores_used": {name: round(cores, 2) for name, cores in self.cores_used.items()},
            "batch": round(self.batch, 2),
            "load_1_min": self.load_1_min,
        }


def worker_process(
    services: Services,
    bench_plant: BenchPlant,
    *,
    stage: str = "inspect",
    instance: str = "0",
    more: Mapping[str, str] | None = None,
) -> Child:
    """`linesight run inspect` (or another stage), not started."""
    return Child(
        name=f"{stage}-{bench_plant.plant.plant}-{instance}",
        command=[sys.executable, "-m", "cli.main", "run", stage, "--plant", bench_plant.file],
        log_dir=services.folder / "logs",
        cwd=CHECKOUT,
        env={**os.environ, **services.environment(), "LINESIGHT_INSTANCE": instance, **(more or {})},
    )


def work_off(
    services: Services,
    bench_plant: BenchPlant,
    pictures: Sequence[Picture],
    *,
    count: int,
    workers: int = 1,
    deal_out: bool = False,
    more: Mapping[str, str] | None = None,
) -> Backlog:
    """Publishes `count` frames, starts the workers, and watches the inspections come. Raises NotInspected.

    The frames are there before the workers begin, for publishing them would take processor time from these. Several workers have joined
    their group before, and are held still (SIGSTOP) while frames are published: else the first one would take what is the others'.
    """
    session = f"{bench_plant.plant.plant}-{next(_sessions)}"
    services.make_topics(bench_plant.plant)
    results = _Results(services, bench_plant, session=session, count=count)
    inline_limit_bytes, store = bench_plant.plant.kafka.inline_limit_bytes, services.folder / "objects"
    frames = as_frames(pictures, count=count, session=session, inline_limit_bytes=inline_limit_bytes, store=store)
    then = load()["load_1_min"]
    model = bench_plant.compare.name
    send = partial(publish, frames, kafka=services.kafka, plant=bench_plant.plant, deal_out=deal_out)
    if workers == 1:
        send()
    with ExitStack() as stack:
        ports = free_ports(workers)
        children = [
            worker_process(
                services, bench_plant, instance=str(number), more={"LINESIGHT_METRICS_PORT": str(port), **(more or {})}
            )
            for number, port in enumerate(ports)
        ]
        for child in children:
            child.start()
            stack.callback(child.stop)
        if workers > 1:
            for child, port in zip(children, ports, strict=True):
                child.wait_ready(partial(is_ready, port), deadline_s=READY_S, advice=f"See {child.log_path}.")
            with _held_still(children):
                send()
        return results.watch(children, lambda: services.executions(model), load_1_min=then)


@contextmanager
def _held_still(children: Sequence[Child]) -> Iterator[None]:
    for child in children:
        os.kill(child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for child in children:
            os.kill(child.pid, signal.SIGCONT)


@dataclass(frozen=True, slots=True)
class _Mark:
    """A moment of a run: frames inspected, processor time in s by name, images and runs of the model."""

    at_s: float
    frames: int
    cpu_s: Mapping[str, float]
    executions: tuple[int, int]


class _Results:
    """The inspections of one session as they appear."""

    def __init__(self, services: Services, bench_plant: BenchPlant, *, session: str, count: int) -> None:
        name = INSPECTIONS.on(bench_plant.plant.plant)
        places = [TopicPartition(name, number) for number in range(bench_plant.plant.kafka.partitions)]
        self._consumer = KafkaConsumer(
            **services.kafka.client(), fetch_min_bytes=FETCH_BYTES, fetch_max_wait_ms=FETCH_WAIT_MS
        )
        self._consumer.assign(places)
        for place, end in self._consumer.end_offsets(places).items():
            self._consumer.seek(place, end)
        self._session = session
        self._count = count
        self._logs = services.folder / "logs"
        self._pids = {**services.pids(), "benchmark": [os.getpid()]}
        self._done_at_s: list[float] = []

    def watch(
        self, workers: Sequence[Child], executions: Callable[[], tuple[int, int]], *, load_1_min: float
    ) -> Backlog:
        """Until all are there."""
        first, last = int(self._count * WARM_SHARE), int(self._count * (1 - WARM_SHARE)) - 1
        pids = {"workers": [worker.pid for worker in workers], **self._pids}
        marks: list[_Mark] = []
        give_up_at = time.monotonic() + DEADLINE_S
        while len(self._done_at_s) < self._count:
            self._take_what_is_there()
            for worker in workers:
                if worker.poll() is not None:
                    raise NotInspected(f"{worker.name} ended; it said last:\n" + "\n".join(worker.last_lines()))
            if len(marks) < 2 and len(self._done_at_s) >= (first, last)[len(marks)]:
                cpu_s = {name: used_s(family) for name, family in pids.items()}
                marks.append(_Mark(time.monotonic(), len(self._done_at_s), cpu_s, executions()))
            if time.monotonic() > give_up_at:
                raise NotInspected(
                    f"only {len(self._done_at_s)} of {self._count} frames were inspected within {DEADLINE_S:g} s; "
                    f"see {self._logs}"
                )
        self._consumer.close()
        began, ended = marks
        runs = ended.executions[1] - began.executions[1]
        used = {name: ended.cpu_s[name] - began.cpu_s[name] for name in pids}
        return Backlog(
            frames_per_s=steady_rate(self._done_at_s),
            cpu_ms_per_frame=1000 * used["workers"] / (ended.frames - began.frames),
            cores_used={name: cpu_s / (ended.at_s - began.at_s) for name, cpu_s in used.items()},
            batch=(ended.executions[0] - began.executions[0]) / runs if runs else 0.0,
            load_1_min=load_1_min,
        )

    def _take_what_is_there(self) -> None:
        for records in self._consumer.poll(timeout_ms=100).values():
            for record in records:
                inspection: Inspection = decode(INSPECTIONS, record.value, record.headers)
                if inspection.session != self._session:
                    continue
                if inspection.outcome is not FrameOutcome.INSPECTED:
                    raise NotInspected(
                        f"{inspection.id} was not inspected: {inspection.reason} {inspection.detail}; see {self._logs}"
                    )
                self._done_at_s.append(record.timestamp / 1000)
