"""A training child leaves the machine to the line, tells how far it is, and never outlives the process that started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.child_job import MEMORY_BYTES, NICENESS, THREADS, JobFailed, run_job
from ops.local.places import CHECKOUT

WITHIN_S = 30.0


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_it_is_nice_and_bounded_and_what_it_prints_comes_back() -> None:
    code = (
        "import json, os, resource, time; time.sleep(0.3); "
        "print(json.dumps([os.nice(0), resource.getrlimit(resource.RLIMIT_DATA)[0], os.environ['OMP_NUM_THREADS']]))"
    )
    done = run_job(python(code), limit_s=WITHIN_S)
    assert json.loads(done.output) == [max(os.nice(0), NICENESS), MEMORY_BYTES, str(THREADS)]


def test_who_is_started_nicer_stays_so() -> None:
    """It was taken back to 15, before a line that was nicer than that; and who is not root may not even try."""
    code = (
        "import os, sys; os.nice(19); from cli.child_job import run_job; "
        "print(run_job([sys.executable, '-c', 'import os; print(os.nice(0))'], limit_s=20).output)"
    )
    done = subprocess.run(python(code), capture_output=True, text=True, check=True, timeout=WITHIN_S)
    assert done.stdout.strip() == "19"


def test_its_cpu_time_is_its_own() -> None:
    busy = run_job(python("sum(range(10_000_000))"), limit_s=WITHIN_S).cpu_s
    idle = run_job(python("pass"), limit_s=WITHIN_S).cpu_s
    assert busy > idle > 0


def test_a_failure_says_what_the_child_said_last() -> None:
    with pytest.raises(JobFailed, match="ended with 3: the disk is full"):
        run_job(
            python("import sys; print('line 1\\nthe disk is full', file=sys.stderr); sys.exit(3)"), limit_s=WITHIN_S
        )


def test_one_that_needs_more_memory_than_it_may_have_fails_alone() -> None:
    code = f"import time; time.sleep(0.3); bytearray({MEMORY_BYTES})"
    with pytest.raises(JobFailed, match="MemoryError"):
        run_job(python(code), limit_s=WITHIN_S)


def test_one_that_hangs_is_ended_and_it_was_told_how_long_it_runs() -> None:
    told: list[float] = []
    with pytest.raises(JobFailed, match="took too long"):
        run_job(python("import time; time.sleep(600)"), limit_s=1.0, tick=told.append, every_s=0.3)
    assert len(told) >= 2
    assert told == sorted(told)


def test_a_child_does_not_outlive_its_parent(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    child = f"import os, pathlib, time; pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(600)"
    code = f"import sys; from cli.child_job import run_job; run_job([sys.executable, '-c', {child!r}], limit_s=600)"
    parent = subprocess.Popen(python(code), cwd=CHECKOUT)
    try:
        pid = int(_awaited(note))
        assert _runs(pid)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    give_up_at = time.monotonic() + WITHIN_S
    while _runs(pid):
        assert time.monotonic() < give_up_at, "the child is still there"
        time.sleep(0.02)


def _awaited(note: Path) -> str:
    give_up_at = time.monotonic() + WITHIN_S
    while not (note.exists() and note.read_text()):
        assert time.monotonic() < give_up_at, "the child did not start"
        time.sleep(0.02)
    return note.read_text()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
