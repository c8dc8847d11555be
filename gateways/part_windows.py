"""Which frame of a free-running camera shows which part: the first one exposed in the part's window.

A window begins when the trigger is seen, and ends after a fixed time or at the next trigger, so windows never overlap and a
frame belongs to at most one part. Nothing is ever given to the nearest. A trigger of a part that nobody wants to see ends a window, too.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

REMEMBERED = 64


class Closed(NamedTuple):
    """A window that ended without a frame, and why; `part` is the number that it was opened with."""

    part: int
    why: str


class _Window(NamedTuple):
    part: int
    begins_s: float
    ends_s: float


class PartWindows:
    """The windows of one camera, each `window_s` long. All times are monotonic; triggers and frames each come in their order."""

    def __init__(self, *, window_s: float) -> None:
        self._window_s = window_s
        self._triggers_s: deque[float] = deque(maxlen=REMEMBERED)
        self._open: list[_Window] = []
        self._newest_s = float("-inf")

    def trigger(self, *, at_s: float) -> None:
        """A part was triggered; the windows of those before end here."""
        self._triggers_s.append(at_s)
        self._open = [
            window._replace(ends_s=at_s) if window.begins_s < at_s < window.ends_s else window for window in self._open
        ]

    def want(self, part: int, *, at_s: float) -> None:
        """Opens the window of the part that was triggered at `at_s`; others may have been triggered since."""
        following_s = min((other_s for other_s in self._triggers_s if other_s > at_s), default=float("inf"))
        self._open.append(_Window(part, at_s, min(at_s + self._window_s, following_s)))

    def frame(self, *, exposed_s: float) -> int | None:
        """The part that a frame exposed at `exposed_s` belongs to; None where it belongs to none."""
        self._newest_s = max(self._newest_s, exposed_s)
        for index, window in enumerate(self._open):
            if window.begins_s < exposed_s <= window.ends_s:
                del self._open[index]
                return window.part
        return None

    def closed(self, *, now_s: float) -> list[Closed]:
        """Windows that no frame can fall into any more: a later one has come, or there was time enough for it to come."""
        over = [
            window for window in self._open if self._newest_s > window.ends_s or now_s > window.ends_s + self._window_s
        ]
        self._open = [window for window in self._open if window not in over]
        return [Closed(window.part, self._why(window)) for window in over]

    def _why(self, window: _Window) -> str:
        length_s = window.ends_s - window.begins_s
        if length_s < self._window_s:
            return f"no frame before the next trigger, {1000 * length_s:.0f} ms later"
        return f"no frame within {1000 * length_s:.0f} ms of the trigger"
