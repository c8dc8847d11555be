"""What every measuring target writes: `run/<target>.json`, with the machine and its load beside the figures."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

WARM_SHARE = 0.1  # at the beginning and at the end, where a candidate starts up or runs dry


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `at_least` is its floor and `at_most` its ceiling, where there is one; `met` is None without."""

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the figure, as it is printed, is within its floor or ceiling."""
        if self.at_least is None and self.at_most is None:
            return None
        floor = float("-inf") if self.at_least is None else self.at_least
        most = float("inf") if self.at_most is None else self.at_most
        return floor <= self.value <= most

    def as_json(self) -> dict[str, Any]:
        """The row as `run/<target>.json` has it: the floor or the ceiling, whichever there is."""
        limit = {"at_most": self.at_most} if self.at_most is not None else {"at_least": self.at_least}
        return {"name": self.name, "value": self.value, "unit": self.unit, **limit, "met": self.met}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What one part of a benchmark gave: its rows, and the figures of every round behind them (plain JSON values)."""

    rows: Sequence[Row]
    raw: dict[str, Any]


def ratio(
    name: str,
    above: Sequence[float],
    below: Sequence[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Row:
    """A row of the middle round of one candidate over the middle round of another."""
    value = statistics.median(above) / statistics.median(below)
    return Row(name=name, value=round(value, 3), unit="ratio", at_least=at_least, at_most=at_most)


def steady_rate(done_at_s: Sequence[float]) -> float:
    """Frames per s of the middle of a run, from the times at which frames were done."""
    times = sorted(done_at_s)
    first, last = int(len(times) * WARM_SHARE), int(len(times) * (1 - WARM_SHARE)) - 1
    return (last - first) / (times[last] - times[first])


def left_by(work_ms: float, *, ceiling_per_s: float, cores: int) -> float:
    """Share of a ceiling that can be reached beside further work per frame, where both have only the same cores.

    The ceiling takes all cores: `cores / ceiling` seconds per frame. With the work, a frame takes that much more.
    """
    ceiling_ms = 1000 * cores / ceiling_per_s
    return ceiling_ms / (ceiling_ms + work_ms)


def machine() -> dict[str, Any]:
    """What it was measured on, and how busy that was at this moment."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        **load(),
    }


def load() -> dict[str, float]:
    """How busy the machine is."""
    one, five, _ = os.getloadavg()
    return {"load_1_min": round(one, 2), "load_5_min": round(five, 2)}


def write(path: Path, *, rows: Sequence[Row], machine_then: dict[str, Any], details: dict[str, Any]) -> None:
    """Writes the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "commit": commit(),
        "machine": machine_then,
        "rows": [row.as_json() for row in rows],
        "details": details,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def commit() -> str:
    """The commit that is measured; with `+` where tracked files differ from it."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], capture_output=True, check=False).returncode != 0
    return (found.stdout.strip() or "unknown") + ("+" if changed else "")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
