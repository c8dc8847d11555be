"""Shared-memory regions of the local Triton: named after their owner, so that those of a dead one can be swept.

The server and its Python processes remove their regions when they end in order; a `kill -9` of all of them leaves the regions behind.
"""

from __future__ import annotations

import os
from pathlib import Path

SHM = Path("/dev/shm")
PREFIX = "linesight_triton"


def started_at(pid: int) -> int | None:
    """When the process was started, in clock ticks since boot; None when there is no such process. Tells a reused id apart."""
    try:
        stat = Path("/proc", str(pid), "stat").read_bytes()
    except OSError:
        return None
    return int(stat[stat.rindex(b")") + 1 :].split()[19])


def region_prefix(instance: int) -> str:
    """Beginning of the region names of this process's `instance`-th server."""
    return f"{PREFIX}_{os.getpid()}_{started_at(os.getpid())}_{instance}_"


def sweep(own_prefix: str) -> list[str]:
    """Remove the regions of owners that are dead, and those that begin with `own_prefix`; returns their names."""
    removed = []
    for region in SHM.glob(f"{PREFIX}_*"):
        owner, _, rest = region.name.removeprefix(f"{PREFIX}_").partition("_")
        born, _, _ = rest.partition("_")
        if not (owner.isdigit() and born.isdigit()):
            continue
        if region.name.startswith(own_prefix) or started_at(int(owner)) != int(born):
            region.unlink(missing_ok=True)
            removed.append(region.name)
    return removed
