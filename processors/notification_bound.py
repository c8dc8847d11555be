"""How many messages a receiver gets: at most `most` in any hour, so that a storm does not bury what matters.

Of the bound a third is for digests, so that what is not told one by one is told within the hour all the same, and half of the rest
is for critical alerts, so that a storm of warnings leaves room for them.
"""

from __future__ import annotations

from collections import deque

HOUR_NS = 3_600_000_000_000


class HourlyBound:
    """The messages of the last hour to one receiver. `most` of at least 2: one alert and one digest."""

    def __init__(self, *, most: int) -> None:
        self._digests_most = max(1, most // 3)
        self._alerts_most = most - self._digests_most
        self._for_critical = self._alerts_most // 2
        self._alerts: deque[int] = deque(maxlen=most)
        self._digests: deque[int] = deque(maxlen=most)

    def may_tell(self, *, critical: bool, now_ns: int) -> bool:
        """Whether an alert may be told alone now."""
        told = sum(at_ns > now_ns - HOUR_NS for at_ns in self._alerts)
        return told < self._alerts_most - (0 if critical else self._for_critical)

    def may_digest(self, now_ns: int) -> bool:
        """Whether a digest may be sent now. They are spread over the hour, or a long storm would have all of them at its beginning."""
        return not self._digests or now_ns - self._digests[-1] >= HOUR_NS // self._digests_most

    def told(self, at_ns: int) -> None:
        """An alert was told alone."""
        self._alerts.append(at_ns)

    def digested(self, at_ns: int) -> None:
        """A digest was sent."""
        self._digests.append(at_ns)
