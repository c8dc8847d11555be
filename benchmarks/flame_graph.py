"""Where our processes spend their time: flame graphs by py-spy.

    make setup-bench && .venv/bin/python -m benchmarks.flame_graph

of the inspect worker under backlog, and of what holds the interpreter only: that is what one worker cannot do more of. Decoding,
resampling and gRPC outside of it are not in it. With `--line` of the largest processes of a running line instead, whatever they do.

Writes `benchmarks/results/*-flame.svg` (open them in a browser). py-spy has to be allowed to look into a process of the same user:
as root, or with `kernel.yama.ptrace_scope` 0.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
from functools import partial
from pathlib import Path

from benchmarks.bench_plants import CHECKOUT
from benchmarks.frames import as_frames, board_pictures, publish
from benchmarks.inspect_worker import REMOTE, worker_process
from benchmarks.line_path import bench_line
from benchmarks.services import Services, services
from cli.readiness import is_ready
from ops.local.places import VENV
from ops.local.ports import free_ports

FRAMES = 4000
WATCH_S = 10
SAMPLES_PER_S = 250
READY_S = 60.0
LINE = ("inspect", "plc-gateway", "station-gateway", "judge")
RATE_PER_S = 15.0
WARM_UP_S = 5.0
LINE_S = 20.0


def main() -> None:
    """Gives the processes something to do, and watches them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "benchmarks" / "results", help="folder")
    parser.add_argument("--line", action="store_true", help="the processes of a running line")
    parser.add_argument("--remote", action="store_true", help="the worker as for a Triton on another machine")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with services() as found:
        if asked.line:
            _line(found, asked.out)
        else:
            _worker(found, asked.out / "inspect-flame.svg", remote=asked.remote)


def _worker(found: Services, out: Path, *, remote: bool) -> None:
    plant = found.plants.golden()
    pictures = board_pictures(plant.plant, plant.file.parent)
    found.make_topics(plant.plant)
    frames = as_frames(pictures, count=FRAMES, session="flame", inline_limit_bytes=1 << 30, store=found.folder)
    publish(frames, kafka=found.kafka, plant=plant.plant)
    [port] = free_ports(1)
    more = {"LINESIGHT_METRICS_PORT": str(port), **(REMOTE if remote else {})}
    worker = worker_process(found, plant, more=more)
    worker.start()
    try:
        worker.wait_ready(partial(is_ready, port), deadline_s=READY_S, advice=f"See {worker.log_path}.")
        _finish(
            _watch(worker.pid, out, "--gil", for_s=WATCH_S),
            out,
            "inspect worker under backlog: what holds the interpreter",
        )
    finally:
        worker.stop()


def _line(found: Services, folder: Path) -> None:
    with bench_line(found, found.plants.three_views()) as line:
        line.feed(rate_per_s=RATE_PER_S, for_s=WARM_UP_S)
        watches = {
            name: (_watch(line.pids[name], out, for_s=LINE_S), out)
            for name in LINE
            for out in [folder / f"line-{name}-flame.svg"]
        }
        line.feed(rate_per_s=RATE_PER_S, for_s=LINE_S)
        for name, (watch, out) in watches.items():
            _finish(watch, out, f"{name} of a line with {RATE_PER_S:g} parts/s of three views")


def _watch(pid: int, out: Path, *more: str, for_s: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            VENV / "bin" / "py-spy",
            "record",
            "--pid",
            str(pid),
            "--format",
            "flamegraph",
            "--threads",
            "--duration",
            str(int(for_s)),
            "--rate",
            str(SAMPLES_PER_S),
            "--nonblocking",
            "--output",
            out,
            *more,
        ],
        env={**os.environ, "TERM": "dumb"},
    )


def _finish(watch: subprocess.Popen[bytes], out: Path, title: str) -> None:
    if watch.wait() != 0:
        raise SystemExit(f"py-spy ended with status {watch.returncode}")
    titled = re.sub(r'(<text id="title"[^>]*>)[^<]*', rf"\g<1>{title}", out.read_text())
    out.write_text(titled)  # py-spy's own title is its command line, with paths of this machine
    print(f"written to {out}")


if __name__ == "__main__":
    main()
