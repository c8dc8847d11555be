"""Is a process that left a note still the same one? Process ids are used again."""

from __future__ import annotations

from pathlib import Path


def started_at(pid: int) -> int | None:
    """When the process was started, in clock ticks since boot; None when it has ended (also when nobody collected it yet)."""
    try:
        stat = Path("/proc", str(pid), "stat").read_bytes()
    except OSError:
        return None
    # the second field is the name in brackets and may contain spaces: count from its end
    fields = stat[stat.rindex(b")") + 1 :].split()
    return None if fields[0] == b"Z" else int(fields[19])
