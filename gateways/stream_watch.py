"""Whether the stream of a triggered camera is dead, although the camera itself answers.

Without a trigger, silence is normal. A trigger without a frame is one that was lost; several in a row without any frame are a stream
that does not come any more: another destination, a firewall, a pulled cable of two, or a trigger that does not reach the camera.
"""

from __future__ import annotations

from collections import deque

SILENT_TRIGGERS = 3


class StreamWatch:
    """`answers_within_s`: how far a frame and the sight of its trigger may lie apart. All times are monotonic."""

    def __init__(self, *, answers_within_s: float) -> None:
        self._answers_within_s = answers_within_s
        self._triggers_s: deque[float] = deque(maxlen=SILENT_TRIGGERS)
        self._last_frame_s = float("-inf")

    def begun(self) -> None:
        """The stream is a new one."""
        self._triggers_s.clear()

    def triggered(self, *, seen_s: float) -> None:
        """The camera was triggered."""
        self._triggers_s.append(seen_s)

    def frame(self, *, received_s: float) -> None:
        """A frame came, whole or not."""
        self._last_frame_s = received_s

    def is_dead(self, *, now_s: float) -> bool:
        """Whether none of the last `SILENT_TRIGGERS` triggers had a frame, nor did any other come since the first of them."""
        if len(self._triggers_s) < SILENT_TRIGGERS:
            return False
        first_s, last_s = self._triggers_s[0], self._triggers_s[-1]
        return now_s > last_s + self._answers_within_s and self._last_frame_s < first_s - self._answers_within_s
