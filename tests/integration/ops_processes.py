"""What runs below a process."""

from __future__ import annotations

import psutil


def descendants(pid: int) -> list[tuple[int, str]]:
    """Process id and command line of everything below `pid`."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            found.append((child.pid, " ".join(child.cmdline())))
        except psutil.NoSuchProcess:
            continue  # ended meanwhile
    return found
