"""Promotions on a running line: 20 of them while 50 frames/s come, and what they cost the frames.

One inspect process, one Triton, one segmenter of the trained families (random weights, 224x224 px). Minutes with swaps take turns with
minutes without: in the first the next version is added to the repository, tried on Triton and promoted every 15 s, as `linesight release`
and `models promote` do, and the line proves and warms it up beside the one that judges. The server holds the pinned version and the last
three. A frame's time is from the broker's receipt to the end of its inspection. Compared are the p99 of the two kinds of minutes; each
frame that was not inspected counts as dropped, each dead letter as an error, every version must have judged, and none may have been
started a second time, as the server's log tells.

`python -m benchmarks.model_swap [--swaps 20]` writes run/model-swap.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import yaml

from benchmarks.bench_plants import BenchPlant
from benchmarks.frames import Picture
from benchmarks.inspect_worker import READY_S, NotInspected, worker_process
from benchmarks.live_feed import Inspections, LiveFeed, age_ms
from benchmarks.random_segmenter import write_segmenter
from benchmarks.results_file import Row, Section, load, machine, write
from benchmarks.services import Services, services
from cli.following import Follower
from cli.model_log import now_ns, write_step
from cli.readiness import is_ready
from cli.run import NICENESS
from ops.local.ports import free_ports
from processors.model_steps import version_step
from schemas.inspections import Inspection
from schemas.plant_file import load_plant
from schemas.reasons import FrameOutcome
from schemas.records import ModelChange
from schemas.topics import DEAD_LETTERS
from simulation.pictures import take_pictures
from topologies.version_check import prove_version
from training.release import Candidate, add_version, read_candidate

MODEL = "swapped"
SIDE_PX = 224
RATE_PER_S = 50.0
SWAPS = 20
SWAP_EVERY_S = 15.0
SWAPS_PER_TURN = 10
STILL_S = 60.0
SERVED = 3
WARM_S = 10.0
AT_MOST = 1.3
FEWEST = 100
"""Frames of either kind of minutes, for a p99."""
SETTLE_S = 5.0
CAMERAS = ("left", "right")

BLANK = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
"""In place of a reference: only its size counts."""

Say = Callable[[str], None]


def model_swap(*, swaps: int = SWAPS, say: Say = lambda _line: None) -> Section:
    """One run."""
    with services() as found, tempfile.TemporaryDirectory(prefix="linesight-bench-") as folder:
        candidates = _candidates(Path(folder), swaps + 1)
        add_version(found.repository, MODEL, candidates[1], 1)
        plant = _plant(Path(folder))
        found.make_topics(plant.plant)
        os.environ |= {"KAFKA_BOOTSTRAP_SERVERS": found.kafka.bootstrap_servers, "TRITON_URL": found.triton_url}
        with _worker(found, plant):
            inspections = Inspections(kafka=found.kafka, plant=plant.plant)
            feed = LiveFeed(
                kafka=found.kafka,
                plant=plant.plant,
                pictures=_pictures(found),
                session="swaps",
                rate_per_s=RATE_PER_S,
            )
            minutes: list[tuple[str, int, int]] = []
            with feed, ThreadPoolExecutor(1, "release", _yield_to_others) as releasing:
                inspections.look(WARM_S)
                version = 1
                while version <= swaps:
                    began_ns = time.time_ns()
                    inspections.look(STILL_S)
                    minutes.append(("still", began_ns, time.time_ns()))
                    began_ns = time.time_ns()
                    for _ in range(min(SWAPS_PER_TURN, swaps - version + 1)):
                        version += 1
                        promoted = releasing.submit(_promote, found, plant, candidates[version], version)
                        inspections.look(SWAP_EVERY_S)
                        promoted.result()
                    minutes.append(("swaps", began_ns, time.time_ns()))
                    say(f"{version - 1} of {swaps} swaps")
            inspections.look(SETTLE_S)
            errors = _dead_letters(found, plant)
            section = _section(
                inspections.of("swaps"),
                minutes,
                published=feed.published,
                errors=errors,
                restarts=_restarts(found, swaps + 1),
                swaps=swaps,
            )
            inspections.close()
    return section


def _section(
    found: list[Inspection],
    minutes: list[tuple[str, int, int]],
    *,
    published: int,
    errors: int,
    restarts: int,
    swaps: int,
) -> Section:
    ages: dict[str, list[float]] = {"still": [], "swaps": []}
    for kind, began_ns, ended_ns in minutes:
        ages[kind] += [age_ms(each) for each in found if began_ns <= each.received_at_ns < ended_ns]
    if min(map(len, ages.values())) < FEWEST:
        told = {kind: len(times) for kind, times in ages.items()}
        raise NotInspected(
            f"{len(found)} of {published} frames came to an end, by minute {told}: the line does not keep up"
        )
    inspected = [each for each in found if each.outcome is FrameOutcome.INSPECTED]
    versions = {use.version for each in inspected for use in each.models}
    p99_ms = {kind: statistics.quantiles(times, n=100)[98] for kind, times in ages.items()}
    apart = round(p99_ms["swaps"] / p99_ms["still"], 3)
    rows = [
        Row(name="frames that were not inspected", value=published - len(inspected), unit="frames", at_most=0),
        Row(name="dead letters", value=errors, unit="records", at_most=0),
        Row(name="versions that judged frames", value=len(versions), unit="versions", at_least=swaps + 1),
        Row(name="versions that were started again", value=restarts, unit="starts", at_most=0),
        Row(name="p99 of the minutes with swaps / of the others", value=apart, unit="ratio", at_most=AT_MOST),
        Row(name="p99 with swaps", value=round(p99_ms["swaps"], 1), unit="ms"),
        Row(name="p99 without", value=round(p99_ms["still"], 1), unit="ms"),
    ]  # fmt: skip
    raw: dict[str, Any] = {
        "published": published,
        "inspected": len(inspected),
        "p50_ms": {kind: round(statistics.median(times), 1) for kind, times in ages.items()},
        "max_ms": {kind: round(max(times), 1) for kind, times in ages.items()},
        "frames": {kind: len(times) for kind, times in ages.items()},
        **load(),
    }
    return Section(rows=rows, raw=raw)


def _candidates(folder: Path, count: int) -> dict[int, Candidate]:
    """Trained folders by the version that they become, made before there is anything to disturb."""
    folders = {version: folder / f"trained-{version}" / MODEL for version in range(1, count + 1)}
    for version, each in folders.items():
        write_segmenter(each, seed=version)
    return {version: read_candidate(each) for version, each in folders.items()}


def _yield_to_others() -> None:
    """As the stage that releases and promotes by rule."""
    least = max(NICENESS["trainer"], os.getpriority(os.PRIO_PROCESS, 0))
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), least)  # on Linux a thread has its own


def _restarts(found: Services, versions: int) -> int:
    """How often the server started a version that it had started before."""
    return found.triton.child.log_path.read_text().count(f"ModelInstanceInitialize: {MODEL}_") - versions


def _promote(found: Services, plant: BenchPlant, candidate: Candidate, version: int) -> None:
    """Releases the version and makes it the champion."""
    unserved = range(2, version - SERVED + 1)
    add_version(found.repository, MODEL, candidate, version, unserved=unserved, is_told=True)
    prove_version(MODEL, version)
    settings = msgspec.json.encode(candidate.settings).decode()
    for change in (ModelChange.RELEASED, ModelChange.PROMOTED):
        step = version_step(
            model=MODEL,
            version=version,
            digest=candidate.digest,
            change=change,
            at_ns=now_ns(),
            by="bench",
            detail="",
            settings=settings if change is ModelChange.RELEASED else "",
        )
        write_step(plant.plant, found.kafka, step)


def _plant(folder: Path) -> BenchPlant:
    """Two cameras whose views a followed segmenter inspects."""
    cameras = [{"name": name, "views": [name], "source": {"type": "external"}, "repeats": "allow"} for name in CAMERAS]
    description = {
        "plant": "bench-swap",
        "lines": [{"name": "line-1", "stations": [{"name": "aoi-1", "cameras": cameras}]}],
        "recipes": [
            {
                "name": "board-a",
                "views": [{"name": name} for name in CAMERAS],
                "inspection": {"type": "segmenter", "model": {"name": MODEL, "version": 1, "follow": True}},
                "classes": [{"name": "defect"}],
            }
        ],
        "alerts": [],
    }
    file = folder / "bench-swap.yaml"
    file.write_text(yaml.safe_dump(description, sort_keys=False))
    return BenchPlant(file=file, plant=load_plant(file))


def _pictures(found: Services) -> list[Picture]:
    """Simulated boards, small enough for two cores."""
    board, shown = found.plants.golden().plant.recipes[0], []
    for seed in range(16):
        jpegs = take_pictures(board, defects=(), lighting_drift_ratio=0.0, seed=(seed,)).jpegs
        for camera, jpeg in zip(CAMERAS, jpegs.values(), strict=False):
            picture = Picture(camera, camera, "board-a@1", jpeg, BLANK)
            small = cv2.resize(picture.decoded(), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
            encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
            shown.append(Picture(camera, camera, "board-a@1", encoded, BLANK))
    return shown


@contextmanager
def _worker(found: Services, plant: BenchPlant) -> Iterator[None]:
    """`linesight run inspect`, ready."""
    (port,) = free_ports(1)
    child = worker_process(found, plant, more={"LINESIGHT_METRICS_PORT": str(port)})
    child.start()
    try:
        child.wait_ready(partial(is_ready, port), deadline_s=READY_S, advice=f"See {child.log_path}.")
        yield
    finally:
        child.stop()


def _dead_letters(found: Services, plant: BenchPlant) -> int:
    with Follower(plant=plant.plant, settings=found.kafka, topics=(DEAD_LETTERS,), from_beginning=True) as follower:
        return sum(1 for _ in follower.drain())


def main() -> None:
    """Measures and writes the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--swaps", type=int, default=SWAPS)
    asked = parser.parse_args()
    then = machine()
    section = model_swap(swaps=asked.swaps, say=print)
    write(Path("run/model-swap.json"), rows=section.rows, machine_then=then, details=section.raw)
    for row in section.rows:
        print(f"{row.name}: {row.value} {row.unit}", "" if row.met is None else "met" if row.met else "NOT MET")


if __name__ == "__main__":
    main()
