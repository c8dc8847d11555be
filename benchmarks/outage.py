"""Triton away while large frames go on arriving: how far processes grow, and how soon the backlog is gone. By hand:

    .venv/bin/python -m benchmarks.outage [--away 120] [--out run/outage.json]

First the capacity of one inspect process for frames of 2448x2048 px (about 2 MB, inline). Then frames at 40 % of it, Triton stopped
after a while, and started again. Growth is of resident memory, from before the outage to its maximum until everything is caught up.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import psutil
from rich.console import Console

from benchmarks.bench_plants import DEMO, BenchPlant
from benchmarks.frames import Picture, board_pictures, enlarged
from benchmarks.inspect_worker import NotInspected, work_off, worker_process
from benchmarks.live_feed import Inspections, LiveFeed, age_ms
from benchmarks.results_file import Row, machine, write
from benchmarks.services import Services, services
from schemas.plant_file import load_plant
from schemas.settings import BudgetSettings

WIDTH_PX, HEIGHT_PX = 2448, 2048
NOISE_GREY, JPEG_QUALITY = 6.0, 95
INLINE_BYTES = 4_000_000
PICTURES = 4
BACKLOG = 80
LOAD_RATIO = 0.4
WARM_S = 20.0
CAUGHT_UP_MS = 1000.0
BUDGET_MIB = 256
CATCH_UP_RATIO = 2.0
LOOK_S = 0.5


class Growth:
    """Resident memory of processes (with their children): where it began and its maximum, in MiB."""

    def __init__(self, processes: dict[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in processes.items()}
        self._first = {name: _resident_mib(process) for name, process in self._processes.items()}
        self._most = dict(self._first)

    def look(self) -> None:
        """Takes note of the present."""
        for name, process in self._processes.items():
            self._most[name] = max(self._most[name], _resident_mib(process))

    def rows(self) -> list[Row]:
        """One per process."""
        return [
            Row(name=f"growth of {name}", value=round(most - self._first[name], 1), unit="MiB", at_most=BUDGET_MIB)
            for name, most in self._most.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """Both, for the file."""
        return {name: {"before_mib": self._first[name], "most_mib": most} for name, most in self._most.items()}


def _resident_mib(process: psutil.Process) -> float:
    try:
        whole = [process, *process.children(recursive=True)]
        return float(round(sum(each.memory_info().rss for each in whole) / 2**20, 1))
    except psutil.NoSuchProcess:
        return 0.0


def outage(services: Services, *, away_s: float, say: Any) -> tuple[list[Row], dict[str, Any]]:
    """One outage of `away_s`. Raises NotInspected where frames do not come back."""
    plant = _inline(services.plants.sized(WIDTH_PX, HEIGHT_PX))
    pictures = _large_pictures(plant)
    mb = sum(len(picture.jpeg) for picture in pictures) / len(pictures) / 1e6
    capacity = work_off(services, plant, pictures, count=BACKLOG, deal_out=True).frames_per_s
    rate = LOAD_RATIO * capacity
    say(f"{mb:.2f} MB a frame, capacity {capacity:.1f} frames/s; now {rate:.1f} frames/s")
    worker = worker_process(services, plant)
    seen = Inspections(kafka=services.kafka, plant=plant.plant)
    worker.start()
    try:
        with LiveFeed(
            kafka=services.kafka, plant=plant.plant, pictures=pictures, session="outage", rate_per_s=rate
        ) as feed:
            _flow(seen, for_s=WARM_S, growth=None)
            _await_present(seen, growth=None, within_s=60.0)
            growth = Growth({"inspect": worker.pid})
            services.triton.child.kill()
            services.triton.stop()
            _flow(seen, for_s=away_s, growth=growth)
            say(f"away for {away_s:g} s: {growth.as_json()}")
            services.triton.start()
            back_s, returned_at_s = time.monotonic(), time.time()
            _await_present(seen, growth=growth, within_s=4 * away_s + 60)
            caught_up_s = time.monotonic() - back_s
        give_up_s = time.monotonic() + 60
        while len(seen.of("outage")) < feed.published and time.monotonic() < give_up_s:
            seen.look(LOOK_S)
    finally:
        worker.stop()
        seen.close()
    found = {each.id: each.outcome.value for each in seen.of("outage")}
    lost = feed.published - len(found)
    dropped = sum(outcome != "inspected" for outcome in found.values())
    rows = [
        *growth.rows(),
        Row(name="caught up / outage", value=round(caught_up_s / away_s, 2), unit="ratio", at_most=CATCH_UP_RATIO),
        Row(name="frames without inspection", value=lost, unit="frames", at_most=0),
        Row(name="frames dropped", value=dropped, unit="frames", at_most=0),
    ]
    details = {
        "away_s": away_s,
        "capacity_frames_per_s": round(capacity, 2),
        "rate_frames_per_s": round(rate, 2),
        "mb_per_frame": round(mb, 3),
        "published": feed.published,
        "caught_up_s": round(caught_up_s, 1),
        "frames_per_5_s_after_return": _per_5_s(seen, since_s=returned_at_s, for_s=caught_up_s),
        "memory": growth.as_json(),
        "budgets_mib": BudgetSettings().model_dump(),
    }
    return rows, details


def _large_pictures(plant: BenchPlant) -> list[Picture]:
    view = plant.plant.recipes[0].views[0]
    reference = np.asarray(cv2.imread(str(plant.file.parent / str(view.reference)), cv2.IMREAD_GRAYSCALE), np.uint8)
    demo = load_plant(DEMO)
    boards = [picture for picture in board_pictures(demo, DEMO.parent) if picture.view == view.name][:PICTURES]
    large = [enlarged(board, width_px=WIDTH_PX, height_px=HEIGHT_PX, reference=reference) for board in boards]
    return [_heavier(picture) for picture in large]


def _heavier(picture: Picture) -> Picture:
    """With so much noise that it weighs about 2 MB."""
    image = picture.decoded()
    noise = np.random.default_rng(1).normal(0.0, NOISE_GREY, image.shape)
    noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return dataclasses.replace(picture, jpeg=jpeg.tobytes())


def _inline(plant: BenchPlant) -> BenchPlant:
    """Whose frames lie in Kafka, however large: the harder case for memory."""
    layout = msgspec.structs.replace(plant.plant.kafka, inline_limit_bytes=INLINE_BYTES)
    return BenchPlant(file=plant.file, plant=msgspec.structs.replace(plant.plant, kafka=layout))


def _per_5_s(seen: Inspections, *, since_s: float, for_s: float) -> list[int]:
    counts = [0] * (int(for_s / 5) + 1)
    for each in seen.of("outage"):
        at = int((each.inspected_at_ns / 1e9 - since_s) // 5)
        if 0 <= at < len(counts):
            counts[at] += 1
    return counts


def _flow(seen: Inspections, *, for_s: float, growth: Growth | None) -> None:
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        seen.look(LOOK_S)
        if growth is not None:
            growth.look()


def _await_present(seen: Inspections, *, growth: Growth | None, within_s: float) -> None:
    """Until the newest inspection is of a frame that has just come."""
    give_up_s = time.monotonic() + within_s
    known = len(seen.found)
    while time.monotonic() < give_up_s:
        _flow(seen, for_s=LOOK_S, growth=growth)
        new, known = seen.found[known:], len(seen.found)
        if new and max(age_ms(each) for each in new) < CAUGHT_UP_MS:
            return
    raise NotInspected(f"not caught up within {within_s:g} s: {len(seen.found)} inspections came")


def main() -> None:
    """Prints the rows and writes them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--away", type=float, default=120.0, help="seconds that Triton is away")
    parser.add_argument("--out", type=Path, default=Path("run/outage.json"))
    asked = parser.parse_args()
    console = Console(stderr=True)
    then = machine()
    with services() as found:
        rows, details = outage(found, away_s=asked.away, say=console.log)
    write(asked.out, rows=rows, machine_then=then, details=details)
    for row in rows:
        met = {True: "met", False: "NOT met", None: ""}[row.met]
        console.print(f"{row.name}: {row.value:g} {row.unit} {met}")


if __name__ == "__main__":
    main()
