"""`python -m benchmarks.chaos`: rounds of faults on a whole line, a process each; a table, and `run/chaos.json`."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.chaos.faults import BY_NAME
from benchmarks.chaos.rounds import faults_of
from benchmarks.chaos.scene import Fault
from benchmarks.chaos.table import holds, rows_of, table
from benchmarks.results_file import machine, write

ROUNDS = 30
PARTS_PER_S = 50 / 3  # three views: 50 frames/s
ROUND_TIMEOUT_S = 420
SMALL_DISK = "512m"
RUN = Path("run")
FOLDER = RUN / "chaos"
RESULT = RUN / "chaos.json"
LAST_LINES = 12
# In a mount namespace of its own, so that the small file system is there for this round only.
WITH_SMALL_DISK = 'mount --make-rprivate / && mount -t tmpfs -o "size=$1" chaos "$2" && shift 2 && exec "$@"'


def main() -> int:
    """Runs the rounds; 1 where a rule was broken, a limit was not met, or a fault or a round did not finish."""
    given = _arguments()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}; {given.rate * 3:.1f} frames/s", flush=True)
    if given.first == 1 and not given.only:
        shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    at_start = machine()
    numbers = range(given.first, given.first + given.rounds)
    for number in numbers:
        faults = [BY_NAME[name] for name in given.only] or faults_of(number, seed=seed)
        names = [fault.name for fault in faults]
        print(f"round {number}: {' + '.join(names)}", flush=True)
        result = _round(faults, seed=seed + number, rate_per_s=given.rate, parts=given.parts)
        result |= {"faults": names, "seed": seed, "rate_parts_per_s": given.rate}
        (FOLDER / f"round-{number:02d}.json").write_text(json.dumps(result, indent=1))
        for rule in result.get("broken", []):
            print(f"  BROKEN: {rule}"[:2000])
    results = {int(file.stem.partition("-")[2]): json.loads(file.read_text()) for file in FOLDER.glob("round-*.json")}
    write(
        RESULT,
        rows=[row for number, result in sorted(results.items()) for row in rows_of(number, result)],
        machine_then=at_start,
        details={"seed": seed, "rounds": results},
    )
    print(table(results))
    return int(not all(holds(number, results[number]) for number in numbers))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how many rounds to run")
    parser.add_argument(
        "--first", type=int, default=1, help="the first round to run; from 2 on earlier results are kept"
    )
    parser.add_argument("--seed", type=int, help="of the random pairs; printed where it is chosen here")
    parser.add_argument("--rate", type=float, default=PARTS_PER_S, help="parts per second, of three frames each")
    parser.add_argument("--parts", type=int, help="parts of a round; by default as many as its faults take time")
    parser.add_argument("--only", action="append", default=[], choices=list(BY_NAME), help="this fault in every round")
    return parser.parse_args()


def _round(faults: list[Fault], *, seed: int, rate_per_s: float, parts: int | None) -> dict[str, Any]:
    run_dir = (FOLDER / "line").absolute()
    shutil.rmtree(run_dir, ignore_errors=True)
    run_dir.mkdir(parents=True)
    file = FOLDER / "result.json"
    file.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "benchmarks.chaos.one_round", "--run-dir", str(run_dir), "--rate", str(rate_per_s),
        "--seed", str(seed), "--result", str(file.absolute()), *([] if parts is None else ["--parts", str(parts)]),
        *(word for fault in faults for word in ("--fault", fault.name)),
    ]  # fmt: skip
    if any(fault.needs_small_disk for fault in faults):
        data = run_dir / "kafka" / "data"
        data.mkdir(parents=True)
        command = ["unshare", "--mount", "sh", "-c", WITH_SMALL_DISK, "sh", SMALL_DISK, str(data), *command]
    try:
        done = subprocess.run(
            command, env=os.environ, capture_output=True, text=True, check=False, timeout=ROUND_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not finished within {ROUND_TIMEOUT_S} s"}
    if not file.exists():
        lines = done.stderr.strip().splitlines()[-LAST_LINES:]
        print("\n".join(f"  {line}" for line in lines), flush=True)
        return {"failed": lines[-1][:300] if lines else f"ended with status {done.returncode}"}
    result: dict[str, Any] = json.loads(file.read_text())
    return result


if __name__ == "__main__":
    sys.exit(main())
