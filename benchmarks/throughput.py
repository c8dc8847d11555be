"""How fast the inspect stage is beside Triton's own ceilings and beside what else one would write.

The candidates take turns, round after round, on the same Kafka, the same Triton and the same frames; the middle round of each
counts. What is in each:

    inspect stage         everything: checks, decoding, alignment, comparison, classification, order, acknowledged results, commits
    ceilings              the comparison alone, of tensors that were decoded before; best of several concurrencies (and batches).
    naive loop            decode, compare, one frame at a time, each result acknowledged and committed
    Faust, quixstreams    decode and compare, results and commits as these do them by themselves

Faust stands twice: the plain agent, and with its option `concurrency`, which keeps no order and commits past frames in flight (so a
frame that fails or a process that dies loses some); no floor is set for the second. All candidates are one process each; the stage
stands once more with two workers, as `linesight demo` runs it, and that is what the ceilings are compared with: they have all cores too.

Remote: the stage is told not to use shared memory, as for a server on another machine. Co-located: it may.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.bench_plants import BenchPlant
from benchmarks.cpu_time import preparation_cost
from benchmarks.frames import Picture, board_pictures
from benchmarks.inspect_worker import REMOTE, Backlog, work_off
from benchmarks.options import Options
from benchmarks.peer_process import peer_rate
from benchmarks.peers.environment import quixstreams_python
from benchmarks.results_file import Row, Section, left_by, ratio
from benchmarks.services import Services
from benchmarks.shared_memory_ceiling import shared_memory_ceiling
from benchmarks.triton_ceiling import ceiling

FAUST_CONCURRENCY = 8
FAUST_MANY = f"Faust agent with concurrency {FAUST_CONCURRENCY}"
ONE_WORKER = "inspect, co-located"
TWO_WORKERS = "inspect, co-located, two workers"
REMOTE_WORKERS = "inspect, remote, two workers"
GRPC = "Triton over gRPC"
SHARED_MEMORY = "Triton in shared memory"
CEILING_SHARE = 1 / 3
"""Of the frames of a candidate: a ceiling is measured for several concurrencies."""
MAX_BATCH = 8

Rates = dict[str, list[float]]
"""Frames per s of each candidate, round by round."""


def golden(services: Services, options: Options) -> Section:
    """The product's own comparison."""
    plant = services.plants.golden()
    turns = _Turns(services, plant, options)
    quix = quixstreams_python()
    for _ in range(options.rounds):
        turns.take(GRPC, turns.grpc_ceiling)
        turns.take(ONE_WORKER, lambda: turns.inspect(ONE_WORKER))
        turns.take(TWO_WORKERS, lambda: turns.inspect(TWO_WORKERS, workers=2))
        turns.take(SHARED_MEMORY, turns.memory_ceiling)
        turns.take(REMOTE_WORKERS, lambda: turns.inspect(REMOTE_WORKERS, workers=2, remote=True))
        turns.take("naive loop", lambda: turns.peer("naive_loop"))
        turns.take("Faust agent", lambda: turns.peer("faust_agent", more={"FAUST_CONCURRENCY": "1"}))
        turns.take(FAUST_MANY, lambda: turns.peer("faust_agent", more={"FAUST_CONCURRENCY": str(FAUST_CONCURRENCY)}))
        turns.take("quixstreams", lambda: turns.peer("quix_pipeline", python=quix))
    rates = turns.rates
    batches = [backlog.batch for backlog in turns.backlogs[ONE_WORKER]]
    one, two, remote = rates[ONE_WORKER], rates[TWO_WORKERS], rates[REMOTE_WORKERS]
    rows = [
        ratio(f"inspect, two workers / {GRPC}, golden comparison, co-located", two, rates[GRPC], at_least=1.0),
        ratio(f"inspect, two workers / {SHARED_MEMORY}, golden comparison, co-located", two, rates[SHARED_MEMORY], at_least=0.90),
        ratio(f"inspect, two workers / {GRPC}, golden comparison, remote", remote, rates[GRPC], at_least=0.85),
        ratio("inspect, one worker / naive loop, golden comparison", one, rates["naive loop"], at_least=2.2),
        ratio("inspect, one worker / plain Faust agent", one, rates["Faust agent"], at_least=2.0),
        ratio(f"inspect, one worker / {FAUST_MANY}", one, rates[FAUST_MANY]),
        ratio("inspect, one worker / quixstreams pipeline", one, rates["quixstreams"], at_least=2.0),
        ratio(f"inspect, one worker / {GRPC}, golden comparison, co-located", one, rates[GRPC]),
        turns.bound(GRPC, "golden comparison"),
        turns.bound(SHARED_MEMORY, "golden comparison"),
        Row(
            name=f"batch size that Triton ran under backlog / max_batch ({MAX_BATCH})",
            value=round(statistics.median(batches) / MAX_BATCH, 3),
            unit="ratio",
            at_least=0.7,
        ),
        *_rates_as_rows(rates, "golden comparison"),
    ]  # fmt: skip
    return Section(rows=rows, raw=turns.raw())


def cnn(services: Services, options: Options) -> Section:
    """A small CNN in golden_compare's place, whose inference outweighs all else."""
    turns = _Turns(services, services.plants.cnn(), options, share=0.5)
    for _ in range(options.rounds):
        turns.take(GRPC, turns.grpc_ceiling)
        # one worker first: the broker keeps the partitions of a second one for a while after it has left
        turns.take(ONE_WORKER, lambda: turns.inspect(ONE_WORKER))
        turns.take(REMOTE_WORKERS, lambda: turns.inspect(REMOTE_WORKERS, workers=2, remote=True))
        turns.take("naive loop", lambda: turns.peer("naive_loop"))
    rates = turns.rates
    rows = [
        ratio(f"inspect, two workers / {GRPC}, CNN, remote", rates[REMOTE_WORKERS], rates[GRPC], at_least=0.93),
        turns.bound(GRPC, "CNN"),
        ratio("inspect, one worker / naive loop, CNN", rates[ONE_WORKER], rates["naive loop"], at_least=1.8),
        *_rates_as_rows(rates, "CNN"),
    ]
    return Section(rows=rows, raw=turns.raw())


class _Turns:
    """One measurement per candidate and round, and what it gave."""

    def __init__(self, services: Services, plant: BenchPlant, options: Options, *, share: float = 1.0) -> None:
        self._services = services
        self._plant = plant
        self._count = int(options.frames * share)
        self._say = options.say
        self._pictures: Sequence[Picture] = board_pictures(plant.plant, plant.file.parent)
        self._shapes: list[dict[str, Any]] = []
        self.rates: Rates = {}
        self.backlogs: dict[str, list[Backlog]] = {}

    def take(self, name: str, measure: Callable[[], float]) -> None:
        """One turn of a candidate."""
        rate = measure()
        self.rates.setdefault(name, []).append(round(rate, 1))
        self._say(f"{self._plant.plant.plant}: {name} {rate:.0f} frames/s")

    def grpc_ceiling(self) -> float:
        """The best of all concurrencies."""
        url, pin, count = self._services.triton_url, self._plant.compare, int(self._count * CEILING_SHARE)
        found = ceiling(url, pin, self._pictures, count=count)
        self._shapes.append({"gRPC, by requests in flight": found})
        return max(found.values())

    def memory_ceiling(self) -> float:
        """The best of all batch sizes and concurrencies."""
        count = int(self._count * CEILING_SHARE)
        found = shared_memory_ceiling(self._services.triton_url, self._plant.compare, self._pictures, count=count)
        self._shapes.append({"shared memory, by batch x requests in flight": found})
        return max(found.values())

    def inspect(self, name: str, *, remote: bool = False, workers: int = 1) -> float:
        """The stage; the cameras of several workers are dealt out to the partitions in turn."""
        backlog = work_off(
            self._services, self._plant, self._pictures, count=self._count * workers, workers=workers,
            deal_out=workers > 1, more=REMOTE if remote else None,
        )  # fmt: skip
        self.backlogs.setdefault(name, []).append(backlog)
        return backlog.frames_per_s

    def peer(self, module: str, **more: Any) -> float:
        """A peer, one process."""
        return peer_rate(self._services, self._plant, self._pictures, module=module, count=self._count // 2, **more)

    def bound(self, ceiling_name: str, what: str) -> Row:
        """What the frames' decoding and alignment, measured alone, leave of a ceiling on these cores."""
        cost = preparation_cost(self._plant, self._pictures, self._services.folder / "objects")
        share = left_by(
            cost.total_ms,
            ceiling_per_s=statistics.median(self.rates[ceiling_name]),
            cores=os.cpu_count() or 1,
        )
        name = f"the most that decoding and alignment ({cost.total_ms:.2f} ms of CPU) leave of {ceiling_name}, {what}, computed"
        return Row(name=name, value=round(share, 3), unit="ratio")

    def raw(self) -> dict[str, Any]:
        """Every round."""
        return {
            "frames_per_s_by_round": self.rates,
            "inspect_by_round": {
                name: [backlog.as_json() for backlog in backlogs] for name, backlogs in self.backlogs.items()
            },
            "ceilings_by_round": self._shapes,
        }


def _rates_as_rows(rates: Rates, what: str) -> list[Row]:
    return [
        Row(name=f"{name}, {what}", value=round(statistics.median(values), 1), unit="frames/s")
        for name, values in rates.items()
    ]
