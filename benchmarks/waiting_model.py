"""Whether workers add up: a model that waits 50 ms without using the processor, 4 requests in flight per worker.

A worker can have 80 frames/s of it at most (4 / 50 ms). Each worker is a process of its own in one consumer group; cameras are dealt
out evenly over the partitions. The server answers 16 requests at a time, so it is never what is waited for.
"""

from __future__ import annotations

from benchmarks.bench_models import WAIT_MS
from benchmarks.frames import board_pictures, of_cameras
from benchmarks.inspect_worker import Backlog, work_off
from benchmarks.options import Options
from benchmarks.results_file import Row, Section, ratio
from benchmarks.services import Services

CAMERAS = 16
IN_FLIGHT = 4
WORKERS = (1, 2, 4)
FLOORS = {2: 1.9, 4: 3.6}


def waiting_model(services: Services, options: Options) -> Section:
    """1, 2 and 4 workers in turn."""
    golden = services.plants.golden()
    first = golden.plant.recipes[0].views[0].name
    pictures = [picture for picture in board_pictures(golden.plant, golden.file.parent) if picture.view == first]
    backlogs: dict[int, list[Backlog]] = {workers: [] for workers in WORKERS}
    for number in range(options.rounds):
        for workers, found in backlogs.items():
            # a group of its own: the broker keeps the partitions of static members that have left for a while
            plant = services.plants.waiting(CAMERAS, run=f"{number}-{workers}")
            shown = of_cameras(pictures[: len(pictures) // CAMERAS * CAMERAS], plant.plant)
            found.append(
                work_off(
                    services, plant, shown, count=options.frames // 2 * workers, workers=workers, deal_out=True,
                    more={"TRITON_IN_FLIGHT": str(IN_FLIGHT)},
                )
            )  # fmt: skip
            options.say(f"{workers} workers on a model of {WAIT_MS} ms: {found[-1].frames_per_s:.0f} frames/s")
    rates = {workers: [backlog.frames_per_s for backlog in found] for workers, found in backlogs.items()}
    rows: list[Row] = [
        ratio(
            f"throughput with a model of {WAIT_MS} ms, {workers} workers / 1", rates[workers], rates[1], at_least=floor
        )
        for workers, floor in FLOORS.items()
    ]
    raw = {str(workers): [backlog.as_json() for backlog in found] for workers, found in backlogs.items()}
    return Section(rows=rows, raw={"by_workers": raw})
