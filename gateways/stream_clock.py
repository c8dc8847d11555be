"""When a frame of a stream was exposed, in the gateway's time: the camera's time stamps, laid over the arrivals.

Frames wait in buffers and on the network, sometimes long, never a negative time. The one that waited least tells how the two
clocks lie (the minimum filter of RFC 5905, 10): a frame that comes late is not taken for one that was exposed late.
"""

from __future__ import annotations

PERIOD_S = 30.0
"""The least wait is looked for in this and the previous period, so that clocks which drift apart are followed."""
JUMP_S = 5.0
"""Time stamps that run ahead of the arrivals by more than this have begun anew."""


class StreamClock:
    """Estimates exposures of one connection. Frames without usable time stamps count as exposed when they arrived."""

    def __init__(self) -> None:
        self._last_stamp_s: float | None = None
        self._least_s: float | None = None
        self._least_before_s: float | None = None
        self._period_ends_s = 0.0

    def exposed_s(self, *, stamp_s: float, received_s: float) -> float:
        """The exposure (plus the least wait seen) of a frame stamped `stamp_s` that arrived at `received_s` (monotonic)."""
        runs = self._last_stamp_s is None or stamp_s > self._last_stamp_s
        self._last_stamp_s = stamp_s
        if not runs:
            self._least_s = self._least_before_s = None
            return received_s
        wait_s = received_s - stamp_s
        if self._least_s is not None and wait_s < self._least_s - JUMP_S:
            self._least_s = self._least_before_s = None
        if self._least_s is None or received_s > self._period_ends_s:
            self._least_before_s, self._least_s = self._least_s, wait_s
            self._period_ends_s = received_s + PERIOD_S
        self._least_s = min(self._least_s, wait_s)
        before_s = self._least_before_s
        return stamp_s + (self._least_s if before_s is None else min(self._least_s, before_s))
