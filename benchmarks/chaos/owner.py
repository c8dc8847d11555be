"""Which of several processes of a stage does the work, as their own counters say."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Mapping

from ops.local.ports import HOST

TIMEOUT_S = 5


def owner_of_station(stage: str, ports: Mapping[str, int]) -> str:
    """The name of the process of `stage` that has taken in most records; `ports` are the health ports by name.

    With one station all its records lie in one partition of each topic, so one process has taken them all.
    """
    received = {name: _received(stage, port) for name, port in ports.items() if re.fullmatch(rf"{stage}(-\d+)?", name)}
    return max(received, key=lambda name: received[name])


def _received(stage: str, port: int) -> float:
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=TIMEOUT_S) as answer:
        lines = answer.read().decode().splitlines()
    begin = f"linesight_{stage}_in_total{{"
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(begin))
