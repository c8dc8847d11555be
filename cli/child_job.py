"""One command of the training side as a child process that leaves the machine to the line: nice, few threads, bounded memory and time."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ops.local.guard import die_with_parent
from schemas.errors import LinesightError

NICENESS = 15
"""At least; who is started nicer stays so. Nobody but root may go back, and a line that is nice itself comes first, too."""
THREADS = 1
MEMORY_BYTES = 8 << 30
LOOK_EVERY_S = 0.2
SHOWN_BYTES = 2_000
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class JobFailed(LinesightError):
    """The child ended with an error, or took too long; the message is what it said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDone:
    """What a child printed, and the CPU time that it took, s."""

    output: str
    cpu_s: float


def run_job(
    command: Sequence[str], *, limit_s: float, tick: Callable[[float], None] = lambda _: None, every_s: float = 15.0
) -> JobDone:
    """Runs the command to its end; `tick` is told every `every_s` for how many s it has run.

    Raises JobFailed. Whatever ends this call ends the child, too; so does a kill -9 of this process, or two would train in one folder.
    """
    started, told, cpu_before_s = time.monotonic(), 0.0, _children_cpu_s()
    environment = {**os.environ, **{name: str(THREADS) for name in _THREAD_VARIABLES}}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            list(command),
            stdout=output,
            stderr=errors,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches this process only, which then ends the child
            preexec_fn=die_with_parent,  # noqa: PLW1509 -- every Kafka client is closed while a job runs: one thread
        )
        try:
            _restrain(child.pid)  # before it has loaded anything: its threads and children inherit it
            while child.poll() is None:
                spent_s = time.monotonic() - started
                if spent_s > limit_s:
                    raise JobFailed(f"{_name(command)} was ended after {limit_s:.0f} s: it took too long")
                if spent_s - told >= every_s:
                    told = spent_s
                    tick(spent_s)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(LOOK_EVERY_S)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        cpu_s = _children_cpu_s() - cpu_before_s
        output.seek(0)
        if child.returncode != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()[-SHOWN_BYTES:]
            raise JobFailed(
                f"{_name(command)} ended with {child.returncode}: {said.splitlines()[-1] if said else 'nothing said'}"
            )
        return JobDone(output=output.read().decode(), cpu_s=cpu_s)


def linesight(*arguments: str) -> list[str]:
    """The command line of a verb, with this interpreter."""
    return [sys.executable, "-m", "cli.main", *arguments]


def _children_cpu_s() -> float:
    """CPU time of all children that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _restrain(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        os.setpriority(os.PRIO_PROCESS, pid, max(os.getpriority(os.PRIO_PROCESS, 0), NICENESS))
        resource.prlimit(pid, resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


def _name(command: Sequence[str]) -> str:
    return " ".join(word for word in command if not word.startswith(("-", "/")))[:80]
