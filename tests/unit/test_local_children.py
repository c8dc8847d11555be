"""A child is started, awaited, stopped, and never left behind, whoever dies first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.local import guard
from ops.local.children import Child, DidNotStart

DEADLINE_S = 20.0


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_at, "did not come true in time"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return b") Z " not in Path("/proc", str(pid), "stat").read_bytes()
    except OSError:
        return False


def shell(script: str, log_dir: Path, *, grace_s: float = 5.0) -> Child:
    return Child(name="shell", command=["sh", "-c", script], log_dir=log_dir, grace_s=grace_s)


def test_ready_when_the_condition_says_so_and_its_output_is_in_the_log(tmp_path: Path) -> None:
    child = shell("echo up; exec sleep 60", tmp_path)
    child.start()
    try:
        child.wait_ready(lambda: "up" in child.last_lines(), deadline_s=DEADLINE_S, advice="")
        assert child.poll() is None
        assert lives(child.pid)
    finally:
        child.stop()
    assert child.poll() is not None


def test_a_child_that_ends_before_it_is_ready_shows_its_last_words_and_the_advice(tmp_path: Path) -> None:
    child = shell("echo the disk is full; exit 3", tmp_path)
    child.start()
    with pytest.raises(DidNotStart, match="status 3") as caught:
        child.wait_ready(lambda: False, deadline_s=DEADLINE_S, advice="Free some space.")
    assert "the disk is full" in str(caught.value)
    assert "Free some space." in str(caught.value)
    assert str(tmp_path / "shell.log") in str(caught.value)


def test_a_child_that_never_gets_ready_is_reported_at_the_deadline(tmp_path: Path) -> None:
    child = shell("exec sleep 60", tmp_path)
    child.start()
    try:
        with pytest.raises(DidNotStart, match=r"not ready within 0\.1 s"):
            child.wait_ready(lambda: False, deadline_s=0.1, advice="")
    finally:
        child.stop()


def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DidNotStart, match="no-such-program"):
        Child(name="x", command=["/no-such-program"], log_dir=tmp_path).start()


def test_stop_lets_the_command_finish_its_work(tmp_path: Path) -> None:
    child = shell("trap 'echo drained; exit 0' TERM; echo up; while :; do sleep 0.05; done", tmp_path)
    child.start()
    child.wait_ready(lambda: "up" in child.last_lines(), deadline_s=DEADLINE_S, advice="")
    child.stop()
    assert child.poll() == 0
    assert child.last_lines()[-1] == "drained"


def test_stop_ends_a_command_that_ignores_sigterm_and_descendants_that_left_its_session(tmp_path: Path) -> None:
    child = shell("trap '' TERM; setsid sleep 300 & echo $!; while :; do sleep 0.05; done", tmp_path, grace_s=0.2)
    child.start()
    child.wait_ready(lambda: bool(child.last_lines()), deadline_s=DEADLINE_S, advice="")
    descendant = int(child.last_lines()[0])
    wait_until(lambda: lives(descendant))
    child.stop()
    assert child.poll() == 128 + signal.SIGKILL
    assert not lives(descendant)


def test_a_crash_is_seen_and_the_child_can_be_started_again(tmp_path: Path) -> None:
    child = shell("exec sleep 60", tmp_path)
    child.start()
    first = child.pid
    child.kill()
    assert child.poll() == 128 + signal.SIGKILL
    child.start()
    try:
        assert child.poll() is None
        assert child.pid != first
    finally:
        child.stop()


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    child = shell("exec sleep 60", tmp_path)
    starter = threading.Thread(target=child.start)
    starter.start()
    starter.join()
    try:
        # the kernel's own parent-death signal is sent when that thread ends, and would have come by now
        with pytest.raises(DidNotStart, match="not ready"):
            child.wait_ready(lambda: False, deadline_s=0.3, advice="")
        assert child.poll() is None
    finally:
        child.stop()


OWNER = """
import sys, time
from pathlib import Path
from ops.local.children import Child
child = Child(name="c", command=["sh", "-c", "setsid sleep 300 & echo $!; wait"], log_dir=Path(sys.argv[1]), grace_s=0.5)
child.start()
child.wait_ready(lambda: bool(child.last_lines()), deadline_s=20, advice="")
print(child.pid, child.last_lines()[0], flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("victim", ["owner", "guard"])
def test_kill_9_of_the_owner_or_the_guard_leaves_nothing(tmp_path: Path, victim: str) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        try:
            command, descendant = (int(pid) for pid in owner.stdout.readline().split())
            (guard_pid,) = guard.children_of(owner.pid)
            os.kill(owner.pid if victim == "owner" else guard_pid, signal.SIGKILL)
            wait_until(lambda: not lives(command))
            if victim == "owner":
                wait_until(lambda: not lives(descendant))
                wait_until(lambda: not lives(guard_pid))
            else:
                os.kill(descendant, signal.SIGKILL)  # nobody was left to look after what the command had started
        finally:
            owner.kill()


def test_the_log_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    log = guard.RotatingLog(tmp_path / "x.log", max_bytes=1000)
    for number in range(200):
        log.write(f"line {number}\n".encode())
    kept = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert kept <= 1000
    assert (tmp_path / "x.log").read_text().endswith("line 199\n")
    assert (tmp_path / "x.log.1").exists()


def test_an_owner_that_was_interrupted_while_it_started_a_child_can_still_stop_it(tmp_path: Path) -> None:
    """Ctrl-C between the start and the guard's report: nobody reads the report any more."""
    report_read, report_write = os.pipe()
    os.close(report_read)
    process = subprocess.Popen(
        [
            sys.executable, "-I", "-S", guard.__file__, f"--owner-pid={os.getpid()}", "--grace-s=5", f"--log={tmp_path / 'log'}",
            "--log-max-bytes=1000", f"--report-fd={report_write}", "--", "sh", "-c", "echo up; exec sleep 60",
        ],
        stderr=subprocess.PIPE, text=True, pass_fds=(report_write,),
    )  # fmt: skip
    os.close(report_write)
    wait_until(
        lambda: process.poll() is not None or ((tmp_path / "log").exists() and "up" in (tmp_path / "log").read_text())
    )
    process.terminate()
    _, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (128 + signal.SIGTERM, "")
