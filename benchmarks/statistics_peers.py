"""One aggregate (minutes by station), the same topic, one process each: the statistics stage beside Faust, quixstreams and bytewax."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.peer_process import PeerFailed
from benchmarks.peers.counting import Counting
from benchmarks.peers.environment import quixstreams_python
from schemas.settings import KafkaSettings

CHECKOUT = Path(__file__).parents[1]
DEADLINE_S = 240.0


def counted_per_s(peer: str, task: Counting, folder: Path) -> float:
    """Verdicts/s of `benchmarks.peers.<peer>_counts`. Raises PeerFailed."""
    python = Path(sys.executable) if peer == "faust" else quixstreams_python()
    here = folder / f"{peer}-state"  # each leaves its state where it runs
    here.mkdir()
    try:
        answer = subprocess.run(
            [python, "-m", f"benchmarks.peers.{peer}_counts", *task.arguments()],
            capture_output=True, text=True, check=False, timeout=DEADLINE_S, cwd=here,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise PeerFailed(f"{peer} was not done within {DEADLINE_S:g} s: {error.stderr!r}") from error
    printed = [line for line in answer.stdout.splitlines() if line.startswith("[")]
    if not printed:
        raise PeerFailed(f"{peer} ended with status {answer.returncode}: {answer.stderr[-2000:]}")
    return float(printed[-1].strip("[]"))


def task_on(kafka: KafkaSettings, *, verdicts: str, peer: str, count: int) -> Counting:
    """What `peer` is told."""
    return Counting(kafka.bootstrap_servers, verdicts, f"{verdicts}-{peer}-counts", count)
