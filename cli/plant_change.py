"""Notices that the plant file of a running line was changed: the stages read it once, when they start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

LOOK_EVERY_S = 1.0


class PlantChange:
    """Says once, after each change of the file, what has to be done for it to count. It may be gone for a moment while it is saved."""

    def __init__(self, plant_file: Path, *, say: Callable[[str], None]) -> None:
        self._file = plant_file
        self._say = say
        self._running = self._told = plant_file.read_bytes()
        self._look_at_s = 0.0

    def look(self, now_s: float) -> None:
        """Compares the file, once a second at most. `now_s` is monotonic."""
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_EVERY_S
        try:
            content = self._file.read_bytes()
        except OSError:
            return
        if content == self._told:
            return
        self._told = content
        if content == self._running:
            self._say(f"{self._file} is again as it was when the line was started")
        else:
            self._say(f"{self._file} has changed; the line goes on as before: stop it with Ctrl-C and start it again")
