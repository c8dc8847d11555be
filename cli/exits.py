"""Exit codes, and how a problem is told to a person."""

from __future__ import annotations

import sys

from schemas.errors import Fatal, LinesightError, Refused, Transient


class NotSo(LinesightError):
    """The thing asked about is not so: unbalanced, below its gate. Exit code 1."""


def exit_code(problem: LinesightError) -> int:
    """2 for what a person has to change, 3 for a service that is not reachable, 1 otherwise."""
    if isinstance(problem, NotSo):
        return 1
    if isinstance(problem, Fatal | Refused):
        return 2
    if isinstance(problem, Transient):
        return 3
    return 1


def say_problem(problem: LinesightError) -> None:
    """Prints the problem to standard error, without a traceback."""
    print(f"linesight: {problem}", file=sys.stderr)
