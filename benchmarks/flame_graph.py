"""Where the inspect worker spends its interpreter's time: a flame graph of it under backlog, by py-spy.

Only what holds the interpreter is in it: that is what one worker cannot do more of. Decoding, resampling and gRPC outside of it are not.

    make setup-bench && .venv/bin/python -m benchmarks.flame_graph

Writes `benchmarks/results/inspect-flame.svg` (open it in a browser). py-spy has to be allowed to look into a process of the same user:
as root, or with `kernel.yama.ptrace_scope` 0.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import time
from pathlib import Path

from benchmarks.bench_plants import CHECKOUT
from benchmarks.frames import as_frames, board_pictures, publish
from benchmarks.inspect_worker import REMOTE, worker_process
from benchmarks.services import services
from cli.readiness import is_ready
from ops.local.places import VENV
from ops.local.ports import free_ports

TITLE = "inspect worker under backlog: what holds the interpreter"
FRAMES = 4000
WATCH_S = 10
SAMPLES_PER_S = 250
READY_S = 60.0


def main() -> None:
    """Publishes a backlog, lets a worker work on it, and watches it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "benchmarks" / "results" / "inspect-flame.svg")
    parser.add_argument("--remote", action="store_true", help="as for a Triton on another machine")
    asked = parser.parse_args()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    with services() as found:
        plant = found.plants.golden()
        pictures = board_pictures(plant.plant, plant.file.parent)
        found.make_topics(plant.plant)
        frames = as_frames(pictures, count=FRAMES, session="flame", inline_limit_bytes=1 << 30, store=found.folder)
        publish(frames, kafka=found.kafka, plant=plant.plant)
        [port] = free_ports(1)
        more = {"LINESIGHT_METRICS_PORT": str(port), **(REMOTE if asked.remote else {})}
        worker = worker_process(found, plant, more=more)
        worker.start()
        try:
            give_up_at_s = time.monotonic() + READY_S
            while not is_ready(port) and time.monotonic() < give_up_at_s:
                time.sleep(0.05)
            subprocess.run(
                [
                    VENV / "bin" / "py-spy", "record", "--pid", str(worker.pid), "--format", "flamegraph", "--threads",
                    "--duration", str(WATCH_S), "--rate", str(SAMPLES_PER_S), "--gil", "--nonblocking", "--output", asked.out,
                ],
                check=True, env={**os.environ, "TERM": "dumb"},
            )  # fmt: skip
        finally:
            worker.stop()
    titled = re.sub(r'(<text id="title"[^>]*>)[^<]*', rf"\g<1>{TITLE}", asked.out.read_text())
    asked.out.write_text(titled)  # py-spy's own title is its command line, with paths of this machine
    print(f"written to {asked.out}")


if __name__ == "__main__":
    main()
