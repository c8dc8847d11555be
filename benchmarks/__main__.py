"""`make bench`: every figure of the speed table from one run on one machine, side by side, as ratios.

Prints a table, writes `run/bench.json` and `run/bench.png`, and keeps every round with machine, load and commit in `benchmarks/results/`.
How each row is measured stands at the head of the module of its section, and in docs/performance-method.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import camera_count, frame_sizes, line_path, replay_isolation, throughput, waiting_model, worker_cost
from benchmarks.options import Options
from benchmarks.plot import bars
from benchmarks.results_file import Row, Section, load, machine, write
from benchmarks.results_table import results_table
from benchmarks.services import Services, services

RESULTS = Path(__file__).with_name("results")

SECTIONS: dict[str, Callable[[Services, Options], Section]] = {
    "golden": throughput.golden,
    "cnn": throughput.cnn,
    "cost": worker_cost.worker_cost,
    "line": line_path.line_path,
    "cameras": camera_count.camera_count,
    "waiting": waiting_model.waiting_model,
    "sizes": frame_sizes.frame_sizes,
    "replay": replay_isolation.replay_isolation,
}


def main() -> None:
    """Measures, prints a table, and writes the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="only these sections")
    parser.add_argument(
        "--quick", action="store_true", help="one round of fewer frames: to see that it runs, not to report"
    )
    parser.add_argument("--rounds", type=int, help="rounds of each candidate (3; with --quick 1)")
    parser.add_argument("--out", type=Path, default=Path("run/bench.json"))
    asked = parser.parse_args()
    console = Console(stderr=True)
    rounds = asked.rounds or (1 if asked.quick else 3)
    options = Options(frames=300 if asked.quick else 2400, rounds=rounds, say=console.log)
    kept = RESULTS / f"{time.strftime('%Y-%m-%d-%H%M%S')}.json"
    then = machine()
    rows: list[Row] = []
    raw: dict[str, Any] = {}
    failed: list[str] = []
    with services() as found:
        for name in asked.rows:
            began = {"load_before": load(), "began_at": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
            try:
                section = SECTIONS[name](found, options)
            except Exception:  # whatever it was, the figures of the other sections are worth having
                console.print_exception()
                failed.append(name)
                continue
            rows += section.rows
            raw[name] = {**began, **section.raw}
            details = {"frames": options.frames, "rounds": options.rounds, "failed": failed, "sections": raw}
            for path in (asked.out, kept):  # now, so that a run that is cut off has left what it measured
                write(path, rows=rows, machine_then=then, details=details)
    rates = raw.get("golden", {}).get("frames_per_s_by_round")
    if rates:
        bars(asked.out.with_suffix(".png"), rates, unit="frames/s")
    Console().print(results_table(rows, then))
    print(f"written to {asked.out} and {kept}")
    if failed:
        sys.exit(f"not measured, see above: {', '.join(failed)}")


if __name__ == "__main__":
    main()
