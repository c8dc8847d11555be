"""Runs one command so that nothing of it outlives its owner, and keeps its log bounded.

    owner (linesight, pytest)  ->  guard (this file)  ->  command and all its descendants

The owner may be killed with -9 and cannot clean up then, so the guard does: it watches the owner through a pidfd (not
PR_SET_PDEATHSIG, which fires when the *thread* that started a child ends), and is the subreaper of everything below it, so that
no orphan escapes. The kernel ends the command when the guard itself is killed (PR_SET_PDEATHSIG; the guard has one thread).

Run as a script by `children.Child`, isolated from the environment's packages: standard library only, quick to start.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SWEEP_S = 5.0
READ_BYTES = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


class RotatingLog:
    """A log file and one predecessor (`<name>.log.1`), together at most `max_bytes` long."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._half_bytes = max_bytes // 2
        self._file = path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        """Append; a full disk loses log lines, never the command that wrote them."""
        try:
            if self._file.tell() + len(data) > self._half_bytes:
                self._file.close()
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                self._file = self._path.open("ab", buffering=0)
            self._file.write(data)
        except OSError:
            return


def die_with_parent() -> None:
    """For `preexec_fn` in a process of one thread: the kernel kills the new process when the one that started it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    """Process ids whose parent is `pid`, from /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_bytes()
        except OSError:
            continue  # ended meanwhile
        # the second field is the name in brackets and may contain spaces: count from its end
        if int(stat[stat.rindex(b")") + 1 :].split()[1]) == pid:
            found.append(int(entry.name))
    return found


def _reap() -> bool:
    """Collect ended children; False when none are left at all."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def sweep() -> None:
    """End everything below this process: orphans become children of the subreaper, so repeat until there are none."""
    give_up_at = time.monotonic() + SWEEP_S
    while _reap() and time.monotonic() < give_up_at:
        for pid in children_of(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # ended meanwhile
        time.sleep(0.01)


def _owner_handle(owner_pid: int) -> int:
    """A pidfd of the owner; refuses a process id that was used again after the owner ended."""
    handle = os.pidfd_open(owner_pid)
    if os.getppid() != owner_pid:
        raise ProcessLookupError(owner_pid)
    return handle


def guard(
    *, owner_pid: int, grace_s: float, log: RotatingLog, command: list[str], report_pid: Callable[[int], None]
) -> int:
    """Run `command` until it ends, the owner ends, or SIGTERM comes; then nothing of it is left.

    SIGTERM (and the owner's end) are passed on as SIGTERM; what still runs after `grace_s` is killed.
    Returns the command's exit status as `subprocess` counts it (negative: ended by that signal).
    """
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    owner = _owner_handle(owner_pid)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)

    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
        preexec_fn=die_with_parent,  # noqa: PLW1509 -- safe: the guard has one thread
    )
    assert process.stdout is not None
    output = process.stdout.fileno()
    report_pid(process.pid)
    ended = os.pidfd_open(process.pid)

    watch = select.poll()
    for descriptor in (owner, ended, output, wake_read):
        watch.register(descriptor, select.POLLIN)
    kill_at: float | None = None
    while process.poll() is None:
        wait_ms = None if kill_at is None else max(0.0, (kill_at - time.monotonic()) * 1000)
        for descriptor, _ in watch.poll(wait_ms):
            if descriptor == output:
                data = os.read(output, READ_BYTES)
                log.write(data)
                if not data:
                    watch.unregister(output)
            elif descriptor in (owner, wake_read):
                watch.unregister(descriptor)
                if kill_at is None:
                    kill_at = time.monotonic() + grace_s
                    process.terminate()
        if kill_at is not None and time.monotonic() >= kill_at:
            process.kill()
            process.wait()
    sweep()
    os.set_blocking(output, False)
    try:
        while data := os.read(output, READ_BYTES):
            log.write(data)
    except BlockingIOError:
        pass
    return process.returncode


def main() -> int:
    """Command line as `children.Child` writes it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--owner-pid", type=int, required=True)
    parser.add_argument("--grace-s", type=float, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--log-max-bytes", type=int, required=True)
    parser.add_argument("--report-fd", type=int, required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    def report(text: str) -> None:
        try:
            os.write(options.report_fd, f"{text}\n".encode())
        except BrokenPipeError:
            pass  # the owner was interrupted while it waited for this; it stops us, or its end does

    def report_pid(pid: int) -> None:
        report(str(pid))
        os.close(options.report_fd)

    os.set_inheritable(options.report_fd, False)
    try:
        status = guard(
            owner_pid=options.owner_pid,
            grace_s=options.grace_s,
            log=RotatingLog(options.log, options.log_max_bytes),
            command=options.command,
            report_pid=report_pid,
        )
    except OSError as error:
        report(f"error: {error}")
        return 127
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
