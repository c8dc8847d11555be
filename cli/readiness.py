"""Which stages do their work, and what the others wait for.

A stage that is not ready is no failure: it waits for a PLC, a broker, a model, and goes on by itself.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ops.local.children import Child
from ops.local.ports import HOST

LOOK_EVERY_S = 1.0
TELL_EVERY_S = 10.0
"""A start takes so long without anything being wrong, and a stage that comes and goes is not told every second."""
LINES = 200
LONGEST_REASON = 300
PRESENT_S = 60.0
"""What failed longer ago is not what a stage waits for: attempts are repeated within 30 s."""


class Readiness:
    """Tells a person when stages become ready or wait. `health` holds their ports, `children` their processes, by name."""

    def __init__(self, *, health: Mapping[str, int], children: Mapping[str, Child], say: Callable[[str], None]) -> None:
        self._health = health
        self._children = children
        self._say = say
        self._told: frozenset[str] | None = None
        self._look_at_s = 0.0
        self._tell_at_s = time.monotonic() + TELL_EVERY_S

    def look(self, now_s: float) -> None:
        """Asks the stages, once a second at most, and says what is new. `now_s` is monotonic."""
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_EVERY_S
        waiting = frozenset(name for name, port in self._health.items() if not is_ready(port))
        if waiting == self._told or (waiting and now_s < self._tell_at_s):
            return
        self._told = waiting
        self._tell_at_s = now_s + TELL_EVERY_S
        if not waiting:
            self._say("every stage is ready")
        starting: list[str] = []
        for name in sorted(waiting):
            if reason := repeated_attempt(self._children[name]):
                self._say(f"{name} is not ready: {reason}")
            else:
                starting.append(name)
        if starting:
            logs = self._children[starting[0]].log_path.parent
            self._say(f"not ready yet: {', '.join(starting)}: starting, or nothing assigned (logs: {logs})")


def is_ready(port: int) -> bool:
    """Whether the stage at this health port says that it does its work."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def waits_for(stage: Child, *, now: datetime | None = None) -> str:
    """Why a stage is not ready, as far as it says."""
    return repeated_attempt(stage, now=now) or f"it is starting, or has nothing assigned (log: {stage.log_path})"


def repeated_attempt(stage: Child, *, now: datetime | None = None) -> str | None:
    """What a stage said last of an attempt that failed, if it said it within the last minute."""
    now = now or datetime.now(UTC)
    for line in reversed(stage.last_lines(LINES)):
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and told.get("event") == "attempt_repeated" and _age_s(told, now) <= PRESENT_S:
            return f"waits for {told.get('service')}: {told.get('detail')}"[:LONGEST_REASON]
    return None


def _age_s(told: dict[str, Any], now: datetime) -> float:
    """Seconds since a log line was written; infinity where it does not say when."""
    try:
        return (now - datetime.fromisoformat(str(told.get("timestamp")))).total_seconds()
    except (ValueError, TypeError):
        return float("inf")
