"""The plant floor's figures beside their floors, into run/bench-floor.json.

    .venv/bin/python -m benchmarks.floor [--rows commands sensors ...] [--out run/bench-floor.json]

A section whose peer is not installed (node-opcua, ffmpeg, GStreamer) is left out by name. docs/performance.md tells how to read the rows.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import changeover, command_round_trips, rtsp, sensor_tags, spool, views22
from benchmarks.peers.node_opcua_install import NodeOpcuaMissing
from benchmarks.results_file import Row, Section, load, machine, write
from benchmarks.results_table import results_table

RESULTS = Path(__file__).with_name("results")
SPOOL_FOLDER = Path("run/bench-spool")

Say = Callable[[str], None]
SECTIONS: dict[str, Callable[[Say], Section]] = {
    "commands": lambda say: command_round_trips.command_round_trips(say=say),
    "changeover": lambda say: changeover.changeover(say=say),
    "sensors": lambda _say: sensor_tags.sensor_tags(seconds=60),
    "rtsp": lambda _say: rtsp.rtsp(seconds=20),
    "spool": lambda say: spool.rows(rounds=3, folder=SPOOL_FOLDER, say=say),
    "views22": lambda say: views22.views22(say=say),
}


def main() -> None:
    """Measures, prints a table, and writes the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="only these sections")
    parser.add_argument("--out", type=Path, default=Path("run/bench-floor.json"))
    asked = parser.parse_args()
    console = Console(stderr=True)
    kept = RESULTS / f"floor-{time.strftime('%Y-%m-%d-%H%M%S')}.json"
    then = machine()
    rows: list[Row] = []
    raw: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    failed: list[str] = []
    for name in asked.rows:
        began = {"load_before": load(), "began_at": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        try:
            section = SECTIONS[name](console.log)
        except (NodeOpcuaMissing, rtsp.PeerMissing) as missing:
            left_out[name] = str(missing)
            continue
        except Exception:  # whatever it was, the figures of the other sections are worth having
            console.print_exception()
            failed.append(name)
            continue
        rows += section.rows
        raw[name] = {**began, **section.raw}
        details = {"left_out": left_out, "failed": failed, "sections": raw}
        for path in (asked.out, kept):  # now, so that a run that is cut off has left what it measured
            write(path, rows=rows, machine_then=then, details=details)
    Console().print(results_table(rows, then))
    print(f"written to {asked.out} and {kept}")
    for name, reason in left_out.items():
        print(f"{name} was left out: {reason}")
    if failed:
        sys.exit(f"not measured, see above: {', '.join(failed)}")


if __name__ == "__main__":
    main()
