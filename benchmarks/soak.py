"""`make soak`: the demo line for 20 minutes, and whether what its processes hold stays flat.

Every second: memory (proportional set size), open files, threads and sockets of every process with its children, and the
connections at the PLC, one for each OPC UA session. What counts is the second half, when caches are full: of the medians of
10 s each the Theil-Sen slope with its 95 % interval. A process grows where even the lower end of the interval is above the
limit: for memory 10 % of its level or 8 MiB an hour, whichever is more; for the others 6 an hour. The broker's memory is told
without a limit: a Java heap fills up to the size that it was given. In a run much shorter than 20 minutes memories still fill in
the second half: the PLC gateway keeps 4,096 events and 16,384 results, the inspect stage 4,096 numbers of each camera.

The time from trigger to acknowledgement: p99 of the last quarter of the parts, over that of the first.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import theilslopes

from benchmarks.process_sample import connections_to, sample
from benchmarks.results_file import Row, machine, write
from cli.demo_run import DemoRun, say_with_time
from cli.simulated_plant import choose_ports
from ops.local.kafka import LocalKafka
from ops.local.places import CHECKOUT
from ops.local.triton import LocalTriton
from schemas.commands import CommandResult
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.plc_events import PartArrived
from schemas.reasons import CommandKind, CommandOutcome
from schemas.topics import COMMAND_RESULTS, PLC_EVENTS
from topologies.topic_reader import read_topics

PLANT_FILE = CHECKOUT / "plants" / "demo.yaml"
SAMPLE_EVERY_S = 1.0
BUCKET_S = 10.0
HOUR_S = 3600.0
CONFIDENCE = 0.95
MEMORY_PERCENT_PER_H, MEMORY_MIB_PER_H = 10.0, 8.0
COUNT_PER_H = 6.0
SLOWER_AT_MOST = 1.25
"""Of p99 of the last quarter over the first: a quarter of a short run has few parts, and its p99 wanders."""
UNITS = {
    "memory_mib": "MiB",
    "files": "files",
    "threads": "threads",
    "sockets": "sockets",
    "connections": "connections",
}
WITHOUT_LIMIT = {("kafka", "memory_mib")}

Series = dict[tuple[str, str], list[tuple[float, float]]]
"""(process, what) -> (seconds since the start, value)."""


class Slope(NamedTuple):
    """Per hour; `low` and `high` are the 95 % interval. `level` is the median of what it was fitted to."""

    level: float
    middle: float
    low: float
    high: float


def slope_of(points: Sequence[tuple[float, float]]) -> Slope:
    """Of the second half of a series."""
    half_s = (points[0][0] + points[-1][0]) / 2
    buckets: defaultdict[int, list[float]] = defaultdict(list)
    for at_s, value in points:
        if at_s >= half_s:
            buckets[int(at_s // BUCKET_S)].append(value)
    values = [statistics.median(bucket) for bucket in buckets.values()]
    at_h = [number * BUCKET_S / HOUR_S for number in buckets]
    middle, _, low, high = theilslopes(values, at_h, CONFIDENCE)
    return Slope(statistics.median(values), float(middle), float(low), float(high))


def slope_row(process: str, what: str, slope: Slope) -> Row:
    """The row holds the lower end of the interval: growth that is certain."""
    limit = max(MEMORY_MIB_PER_H, slope.level * MEMORY_PERCENT_PER_H / 100) if what == "memory_mib" else COUNT_PER_H
    return Row(
        name=f"{process}: {UNITS[what]} more an hour, at least",
        value=round(slope.low, 2),
        unit=f"{UNITS[what]}/h",
        at_most=None if (process, what) in WITHOUT_LIMIT else round(limit, 2),
    )


def p99_rows(latencies: Sequence[tuple[int, float]]) -> list[Row]:
    """From (triggered at ns, ms to the acknowledgement) of every part."""
    in_order = [ms for _, ms in sorted(latencies)]
    quarter = len(in_order) // 4
    first, last = (float(np.percentile(part, 99)) for part in (in_order[:quarter], in_order[-quarter:]))
    return [
        Row(name="trigger to acknowledgement, p99 of the first quarter", value=round(first, 1), unit="ms"),
        Row(name="trigger to acknowledgement, p99 of the last quarter", value=round(last, 1), unit="ms"),
        Row(name="p99, last / first quarter", value=round(last / first, 3), unit="ratio", at_most=SLOWER_AT_MOST),
    ]


class Watch:
    """Samples the processes of a running line, once a second."""

    def __init__(self, demo: DemoRun, *, plc_port: int) -> None:
        self._demo = demo
        self._plc_port = plc_port
        self._began_s = self._next_s = time.monotonic()
        self.series: Series = defaultdict(list)

    def look(self) -> None:
        """Call it often."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + SAMPLE_EVERY_S
        at_s = now_s - self._began_s
        for name, pid in self._pids().items():
            found = sample(pid)
            for what, value in asdict(found).items() if found else ():
                self.series[name, what].append((at_s, value))
        sessions = connections_to(self._demo.simulated_plant.pid, self._plc_port)
        self.series["simulated-plant", "connections"].append((at_s, sessions))

    def _pids(self) -> dict[str, int]:
        line = self._demo.line
        pids = {name: child.pid for name, child in line.children.items()}
        pids["simulated-plant"] = self._demo.simulated_plant.pid
        for service in (line.kafka, line.triton):
            if isinstance(service, LocalKafka | LocalTriton):
                pids[service.name] = service.child.pid
        return pids


async def acknowledgements(plant: Plant) -> list[tuple[int, float]]:
    """Of every part whose verdict the PLC took: when it was triggered (ns, the PLC's clock), and the ms from there."""
    triggered: dict[tuple[str, str, int], int] = {}
    taken: dict[tuple[str, str, int], int] = {}
    async for stored in read_topics(plant, [PLC_EVENTS, COMMAND_RESULTS]):
        match stored.message:
            case PartArrived() as part:
                triggered[part.station, part.part_id, part.visit] = part.occurred_at_ns
            case CommandResult(kind=CommandKind.VERDICT, outcome=CommandOutcome.ACKNOWLEDGED) as result:
                taken[result.station, result.part_id, result.visit] = result.acknowledged_at_ns
    return [(triggered[part], (at_ns - triggered[part]) / 1e6) for part, at_ns in taken.items() if part in triggered]


def main() -> None:
    """Runs, prints a table and writes `run/soak.json`; exit 1 where something grows or is lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=4.0, help="parts per s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("run/soak.json"))
    options = parser.parse_args()
    console = Console(stderr=True)
    choose_ports()
    plant = load_plant(PLANT_FILE)
    run_dir = options.out.parent.absolute() / "soak"
    shutil.rmtree(run_dir, ignore_errors=True)  # records of a former run would be counted, too
    os.environ["OBJECT_STORE_URL"] = str(run_dir / "objects")
    then = machine()
    with DemoRun(plant=plant, plant_file=PLANT_FILE, run_dir=run_dir, say=say_with_time(console)) as demo:
        demo.start(parts=int(options.minutes * 60 * options.rate), rate_per_s=options.rate, seed=options.seed)
        watch = Watch(demo, plc_port=int(plant.plcs[0].endpoint.strip("/").rpartition(":")[2]))
        with console.status(f"{options.minutes:g} minutes at {options.rate:g} parts/s"):
            while not demo.is_finished:
                demo.step()
                watch.look()
        outcome = demo.finish()
        latencies = asyncio.run(acknowledgements(plant))
    slopes = {key: slope_of(points) for key, points in sorted(watch.series.items())}
    report = outcome.report
    rows = [
        Row(name="parts without a verdict", value=report["parts"]["arrived"] - report["parts"]["verdicts"], unit="parts", at_most=0),
        Row(name="differences in the ledger", value=len(report["ledger"]["differences"]), unit="", at_most=0),
        *p99_rows(latencies),
        *(slope_row(process, what, slope) for (process, what), slope in slopes.items()),
    ]  # fmt: skip
    details = {
        "minutes": options.minutes,
        "rate_per_s": options.rate,
        "parts": report["parts"],
        "slopes_per_hour": {f"{process} {what}": slope._asdict() for (process, what), slope in slopes.items()},
    }
    write(options.out, rows=rows, machine_then=then, details=details)
    _print(rows, slopes)
    print(f"written to {options.out}")
    sys.exit(any(row.met is False for row in rows))


def _print(rows: Sequence[Row], slopes: dict[tuple[str, str], Slope]) -> None:
    held = Table("process", "what", "level", "an hour", "95 % from", "to", title="second half of the run")
    for (process, what), slope in slopes.items():
        held.add_row(
            process,
            UNITS[what],
            f"{slope.level:.1f}",
            f"{slope.middle:+.2f}",
            f"{slope.low:+.2f}",
            f"{slope.high:+.2f}",
        )
    found = Table("what", "value", "unit", "at most", "met")
    for row in rows:
        if row.met is False or "hour" not in row.name:
            limit = "" if row.at_most is None else f"{row.at_most:g}"
            found.add_row(row.name, f"{row.value:g}", row.unit, limit, {True: "yes", False: "NO", None: ""}[row.met])
    Console().print(held)
    Console().print(found)


if __name__ == "__main__":
    main()
