"""Which frames of a recipe with `newest_first` the live group leaves to the backfill, when the line outruns inference.

A frame that is begun just before its deadline is finished just after it: were only expired frames left out, a line that is a
little too fast would inspect every frame a little too late. So a frame that has not been begun after half of its deadline is
left out, and once that happened, everything older than a quarter of it, until the present is reached: frames are left out in
runs, all views of a part together, and what is inspected then has time to spare.
"""

from __future__ import annotations

LATEST_START_RATIO = 0.5
CAUGHT_UP_RATIO = 0.25


class Deferral:
    """The rule of one worker. Ask for each frame when its work is about to begin, in the order of taking."""

    def __init__(self) -> None:
        self._behind = False

    def defers(self, *, age_ms: float, deadline_ms: int) -> bool:
        """Whether a frame that the broker received `age_ms` ago is left to the backfill."""
        self._behind = age_ms / deadline_ms >= (CAUGHT_UP_RATIO if self._behind else LATEST_START_RATIO)
        return self._behind
