"""Processor time per frame in the inspect worker, decoding and alignment excluded.

The worker's time is from /proc (user and system, all threads) over the middle of a backlog. Decoding and alignment are measured
beside it: the same two functions on the same frames, alone in one thread (`time.thread_time`), and taken off. What remains is
fetching, unpacking, checks, requests to Triton, the search for candidates, results, commits, and the waiting of threads for each other.
"""

from __future__ import annotations

from benchmarks.cpu_time import preparation_cost
from benchmarks.frames import board_pictures
from benchmarks.inspect_worker import work_off
from benchmarks.options import Options
from benchmarks.results_file import Row, Section
from benchmarks.services import Services


def worker_cost(services: Services, options: Options) -> Section:
    """One worker, co-located, golden comparison."""
    plant = services.plants.golden()
    pictures = board_pictures(plant.plant, plant.file.parent)
    cost = preparation_cost(plant, pictures, services.folder / "objects")
    backlogs = [work_off(services, plant, pictures, count=options.frames) for _ in range(options.rounds)]
    used_ms = sorted(backlog.cpu_ms_per_frame for backlog in backlogs)[len(backlogs) // 2]
    options.say(
        f"worker {used_ms:.2f} ms per frame, of it decoding {cost.decode_ms:.2f}, alignment {cost.align_ms:.2f}"
    )
    rows = [
        Row(
            name="CPU time per frame in the inspect worker, without decoding and alignment",
            value=round(used_ms - cost.total_ms, 3),
            unit="ms",
            at_most=0.8,
        ),
        Row(name="CPU time per frame in the inspect worker", value=round(used_ms, 3), unit="ms"),
        Row(name="CPU time per frame, decoding alone", value=round(cost.decode_ms, 3), unit="ms"),
        Row(name="CPU time per frame, alignment alone", value=round(cost.align_ms, 3), unit="ms"),
    ]
    return Section(rows=rows, raw={"by_round": [backlog.as_json() for backlog in backlogs]})
