"""Which frames of a recipe with `newest_first` the live group leaves to the backfill, when the line outruns inference.

A frame that is begun just before its deadline is finished just after it: were only expired frames left out, a line that is a
little too fast would inspect every frame a little too late. So a frame that has not been begun after half of its deadline is
left out, and once that happened, everything older than a quarter of it, until the present is reached: frames are left out in
runs, all views of a part together, and what is inspected then has time to spare.
"""

from __future__ import annotations

from schemas.message import NS_PER_MS

LATEST_START_RATIO = 0.5
CAUGHT_UP_RATIO = 0.25


class Deferral:
    """The rule of one worker. Ask for each frame when its work is about to begin, in the order of taking."""

    def __init__(self) -> None:
        self._behind = False

    def defers(self, *, received_at_ns: int, deadline_ms: int, now_ns: int) -> bool:
        """Whether a frame that the broker received at `received_at_ns` (ns UTC) is left to the backfill."""
        age_ratio = (now_ns - received_at_ns) / (deadline_ms * NS_PER_MS)
        self._behind = age_ratio >= (CAUGHT_UP_RATIO if self._behind else LATEST_START_RATIO)
        return self._behind
