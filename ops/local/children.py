"""A supervised child process: started, awaited until ready, stopped, and never left behind (see `guard`)."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from schemas.errors import ServiceAway

GUARD = Path(__file__).with_name("guard.py")
LOG_MAX_BYTES = 16 << 20
POLL_S = 0.05
LAST_LINES = 12
MOST_LAST_LINES = 100
LONGEST_LINE = 300
SENTENCE = "linesight: "
"""How our own commands begin what they tell a person; it may go on over several lines."""
# What a Java, C++ or Python service writes when something is wrong; the last lines are often only about the tidying up after it.
TROUBLE = re.compile(r"\b(ERROR|FATAL|CRITICAL|[Ee]rror|\w*Exception|\w+Error)\b|^E\d{4} ")


class DidNotStart(ServiceAway):
    """A child ended, or was not ready in time. The message holds what it wrote of it and what to do."""


class Child:
    """One command in a session of its own; its output goes to `log_dir/<name>.log` (bounded).

    A stopped child may be started again. `grace_s` is what it gets between SIGTERM and SIGKILL, when it is stopped and when its
    owner dies.
    """

    def __init__(
        self,
        *,
        name: str,
        command: Sequence[str | Path],
        log_dir: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        grace_s: float = 10.0,
    ) -> None:
        self.name = name
        self.log_path = (log_dir / f"{name}.log").absolute()
        self._command = [str(part) for part in command]
        self._env = None if env is None else dict(env)
        self._cwd = cwd
        self._grace_s = grace_s
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._log_begin = 0

    @property
    def pid(self) -> int:
        """Process id of the command itself (not of its guard). Raises DidNotStart before `start()`."""
        if self._pid is None:
            raise DidNotStart(f"{self.name} was not started")
        return self._pid

    def start(self) -> None:
        """Start the command; returns as soon as it runs. Raises DidNotStart when it cannot be executed."""
        if self._guard is not None and self._guard.poll() is None:
            return
        self._log_begin = self.log_path.stat().st_size if self.log_path.exists() else 0
        report_read, report_write = os.pipe()
        try:
            self._guard = subprocess.Popen(
                [
                    sys.executable, "-I", "-S", str(GUARD),
                    f"--owner-pid={os.getpid()}",
                    f"--grace-s={self._grace_s}",
                    f"--log={self.log_path}",
                    f"--log-max-bytes={LOG_MAX_BYTES}",
                    f"--report-fd={report_write}",
                    "--", *self._command,
                ],
                stdin=subprocess.DEVNULL,
                env=self._env,
                cwd=self._cwd,
                pass_fds=(report_write,),
                start_new_session=True,  # Ctrl-C reaches the owner only, which then stops its children in order
            )  # fmt: skip
        finally:
            os.close(report_write)
        with os.fdopen(report_read) as report:
            answer = report.readline().strip()
        if not answer.isdigit():
            self._guard.wait()
            raise DidNotStart(
                f"{self.name} cannot be started: {answer or 'its guard ended'}. Run the set-up again: make setup"
            )
        self._pid = int(answer)

    def poll(self) -> int | None:
        """None while it runs, else its exit status (128 + n when signal n ended it)."""
        return None if self._guard is None else self._guard.poll()

    def wait_ready(self, ready: Callable[[], bool], *, deadline_s: float, advice: str) -> None:
        """Ask `ready` until it says True.

        Raises DidNotStart when the child ends first or `deadline_s` passes; `advice` says what a person can do then.
        """
        give_up_at = time.monotonic() + deadline_s
        while not ready():
            status = self.poll()
            if status is not None:
                raise DidNotStart(self._failure(f"ended with status {status} before it was ready", advice))
            if time.monotonic() >= give_up_at:
                raise DidNotStart(self._failure(f"was not ready within {deadline_s:g} s", advice))
            time.sleep(POLL_S)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after the grace; returns when the command and all its descendants have ended."""
        if self._guard is None:
            return
        if self._guard.poll() is None:
            self._guard.terminate()
        try:
            self._guard.wait(self._grace_s + 10.0)
        except subprocess.TimeoutExpired:
            # a guard that hangs (stopped by a debugger, say): the kernel ends its command with it
            self._guard.kill()
            self._guard.wait()

    def kill(self) -> None:
        """SIGKILL to the command itself, as a crash would be; waits until it and its descendants have ended."""
        if self._guard is None or self._guard.poll() is not None:
            return
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # ended by itself meanwhile
        self._guard.wait()

    def last_lines(self, count: int = LAST_LINES) -> list[str]:
        """The last lines that it wrote since it was started."""
        return list(deque(self._lines(), maxlen=count))

    def last_words(self) -> str:
        """The sentence with which one of our own commands ended, else the last line; empty where it wrote none."""
        lines = self.last_lines(MOST_LAST_LINES)
        begins = [number for number, line in enumerate(lines) if line.startswith(SENTENCE)]
        if begins:
            rest = itertools.takewhile(lambda line: not line.startswith("{"), lines[begins[-1] + 1 :])
            return "\n".join([lines[begins[-1]].removeprefix(SENTENCE), *rest])
        return lines[-1][:LONGEST_LINE] if lines else ""

    def _lines(self) -> Iterator[str]:
        try:
            with self.log_path.open(errors="replace") as log:
                log.seek(self._log_begin if self.log_path.stat().st_size >= self._log_begin else 0)
                for line in log:
                    yield line.rstrip()
        except FileNotFoundError:
            return

    def _failure(self, what: str, advice: str) -> str:
        trouble = deque((line for line in self._lines() if TROUBLE.search(line)), maxlen=LAST_LINES)
        lines = "\n".join(f"    {line[:LONGEST_LINE]}" for line in trouble or self.last_lines())
        return f"{self.name} {what}. {advice}\n  From {self.log_path}:\n{lines}"
