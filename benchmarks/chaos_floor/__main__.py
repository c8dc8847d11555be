"""`python -m benchmarks.chaos_floor`: a whole encrypted line at 4 parts/s out of which cables, certificates, PLCs, cameras, the broker
and gateways are pulled in random order; a table, and `run/chaos-floor.json`. Exit 1 where a row is not met."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.chaos.one_round import SERVICES
from benchmarks.chaos_floor.floor_run import FloorRun
from benchmarks.chaos_floor.pulls import KINDS, pulls_of
from benchmarks.chaos_floor.recovery import recoveries
from benchmarks.chaos_floor.report import broken_rules, details_of, kinds_table, rows_of
from benchmarks.results_file import Row, load, machine, write
from benchmarks.results_table import results_table
from cli.demo_run import say_with_time

PULLS = 60
RATE_PER_S = 4.0
RUN = Path("run")
MOST_PRINTED = 5


def main() -> None:
    """Pulls, prints and writes."""
    given = _arguments()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(2**32)
    kinds = tuple(given.only) or tuple(KINDS)
    print(f"seed {seed}; {given.pulls} pulls at {given.rate:g} parts/s", flush=True)
    for variable in SERVICES:
        os.environ.pop(variable, None)
    run_dir = (RUN / "chaos-floor").absolute()
    shutil.rmtree(run_dir, ignore_errors=True)
    console = Console()
    then = machine()
    run = FloorRun(run_dir=run_dir, rate_per_s=given.rate, seed=seed, say=say_with_time(console))
    details: dict[str, Any] = {"seed": seed, "rate_per_s": given.rate}
    try:
        record = run.run(pulls_of(given.pulls, seed=seed, kinds=kinds))
    except Exception as error:  # whatever it was, a run that broke off is a result, and not a good one
        failed = Row(name="runs that went to their end", value=0, unit="runs", at_least=1)
        details |= {"failed": repr(error), "pulls": [asdict(pulled) for pulled in run.pulled], "said": run.said}
        write(given.out, rows=[failed], machine_then=then, details=details)
        raise
    rows = rows_of(record, asked_for=given.pulls)
    details |= {"load_after": load(), **details_of(record)}
    write(given.out, rows=rows, machine_then=then, details=details)
    console.print(kinds_table(recoveries(record.pulled, record.truth, until_ns=record.until_ns)))
    console.print(results_table(rows, then))
    for name, lines in broken_rules(record).items():
        for line in lines[:MOST_PRINTED]:
            print(f"{name}: {line}")
    print(f"written to {given.out}")
    sys.exit(any(row.met is False for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos_floor", description=__doc__)
    parser.add_argument("--pulls", type=int, default=PULLS, help="how many")
    parser.add_argument(
        "--seed", type=int, help="of their order and of how long each lasts; printed where it is chosen here"
    )
    parser.add_argument("--rate", type=float, default=RATE_PER_S, help="parts per second, of three frames each")
    parser.add_argument("--only", action="append", default=[], choices=list(KINDS), help="pulls of this kind only")
    parser.add_argument("--out", type=Path, default=RUN / "chaos-floor.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
