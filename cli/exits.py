"""How a command ends: exit codes, how a problem is told to a person, what a signal does."""

from __future__ import annotations

import errno
import signal
import sys
from types import FrameType
from typing import Any

from schemas.errors import ConfigurationError, Fatal, LinesightError, Refused, ServiceAway, Transient

CTRL_C = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

ADVICE = {
    errno.ENOSPC: "free space there, or name another folder (LINESIGHT_RUN_DIR, OBJECT_STORE_URL)",
    errno.EDQUOT: "free space there, or name another folder (LINESIGHT_RUN_DIR, OBJECT_STORE_URL)",
    errno.EACCES: "get the right to it, or name another place (LINESIGHT_RUN_DIR, OBJECT_STORE_URL, an option of the command)",
    errno.EPERM: "get the right to it, or name another place (LINESIGHT_RUN_DIR, OBJECT_STORE_URL, an option of the command)",
    errno.EROFS: "name a place that can be written (LINESIGHT_RUN_DIR, OBJECT_STORE_URL, an option of the command)",
    errno.ENOTDIR: "name a folder (LINESIGHT_RUN_DIR, OBJECT_STORE_URL, an option of the command)",
    errno.EEXIST: "name a folder (LINESIGHT_RUN_DIR, OBJECT_STORE_URL, an option of the command)",
    errno.ENOENT: "name one that is there",
    errno.EISDIR: "name a file",
    errno.EADDRINUSE: "stop what listens there, or choose another port",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}
"""What a person can do about it, by the number of the system's error."""


class NotSo(LinesightError):
    """The thing asked about is not so: unbalanced, below its gate. Exit code 1."""


class Signals:
    """Lets SIGTERM do what Ctrl-C does, so that everything that was started is drained on the way out."""

    def __init__(self) -> None:
        self._terminated = False

    def install(self) -> None:
        """Takes over SIGTERM of this process; call in the main thread."""
        signal.signal(signal.SIGTERM, self._as_ctrl_c)

    def status(self, status: Any) -> Any:
        """The exit status: that of an interruption names the signal that came."""
        return TERMINATED if self._terminated and status == CTRL_C else status

    def _as_ctrl_c(self, number: int, frame: FrameType | None) -> None:
        self._terminated = True
        # asyncio.run has a handler of its own there, which cancels the main task
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        if callable(on_ctrl_c):
            on_ctrl_c(number, frame)
        else:  # ignored, as a shell does for what it starts in the background
            raise KeyboardInterrupt


def exit_code(problem: LinesightError) -> int:
    """2 for what a person has to change, 3 for a service that is not reachable, 1 otherwise: a supervisor starts it again."""
    if isinstance(problem, NotSo):
        return 1
    if isinstance(problem, Fatal | Refused):
        return 2
    if isinstance(problem, Transient):
        return 3
    return 1


def as_problem(error: OSError) -> LinesightError:
    """What the operating system refused, as a problem with one sentence that says what to do."""
    if isinstance(error, ConnectionError | TimeoutError):
        return ServiceAway(f"a service does not answer ({error}): start it, or correct its address")
    where = f"{error.filename}: " if error.filename else ""
    advice = ADVICE.get(error.errno or 0)
    return ConfigurationError(f"{where}{error.strerror or error}" + (f"; {advice}" if advice else ""))


def say_problem(problem: LinesightError) -> None:
    """Prints the problem to standard error, without a traceback."""
    print(f"linesight: {problem}", file=sys.stderr)
