"""The command by which a person goes on, as a message shows it: the program as it was called, and the plant file that was given."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

PROGRAM = "linesight"


def next_command(*words: str, plant: Path) -> str:
    """A line to paste into the same terminal, in backquotes."""
    called = sys.argv[0] if Path(sys.argv[0]).name == PROGRAM else PROGRAM
    return f"`{shlex.join([called, *words, '--plant', str(plant)])}`"
