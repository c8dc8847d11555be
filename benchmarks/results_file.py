"""What every measuring target writes: `run/<target>.json`, with the machine and its load beside the figures."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `at_least` is its floor where there is one; `met` is None without."""

    name: str
    value: float
    unit: str
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the figure reaches its floor."""
        return None if self.at_least is None else self.value >= self.at_least


def machine() -> dict[str, Any]:
    """What it was measured on, and how busy that was at this moment."""
    one, five, _ = os.getloadavg()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_1_min": round(one, 2),
        "load_5_min": round(five, 2),
    }


def write(path: Path, *, rows: Sequence[Row], machine_then: dict[str, Any], details: dict[str, Any]) -> None:
    """Writes the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "commit": _commit(),
        "machine": machine_then,
        "rows": [{**asdict(row), "met": row.met} for row in rows],
        "details": details,
    }
    path.write_text(json.dumps(content, indent=2) + "\n")


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
