"""Shared-memory regions of the local Triton: named after their owner, so that those of a dead one can be swept.

The server and its Python processes remove their regions when they end in order; a `kill -9` of all of them leaves the regions behind.
"""

from __future__ import annotations

import os
from pathlib import Path

from ops.local.processes import started_at

SHM = Path("/dev/shm")
PREFIX = "linesight_triton"


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
