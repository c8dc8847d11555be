"""Whether silence means anything: while the broker is away nothing is seen of the line, so nothing can be said to be missing.

A time without contact that is over is an outage: the rule `broker_away` looks at it (`alert_broker`).
"""

from __future__ import annotations

from processors.alert_rules import BrokerOutage
from schemas.message import NS_PER_S

SETTLE_NS = 5 * NS_PER_S
"""What came in the meantime is read first."""


class Sight:
    """Contact with the broker, and whether it has lasted long enough since it was lost."""

    def __init__(self) -> None:
        self._had_contact = False
        self._blind_until_ns = 0
        self._lost_at_ns: int | None = None
        self._outage: BrokerOutage | None = None

    @property
    def is_lost(self) -> bool:
        """Whether there was contact, and is none now."""
        return self._lost_at_ns is not None

    def take_outage(self) -> BrokerOutage | None:
        """An outage that is over, once."""
        outage, self._outage = self._outage, None
        return outage

    def sees(self, *, in_contact: bool, now_ns: int) -> bool:
        """Whether what does not come is missing. At a start it is, as soon as there is contact: watches count from what they saw."""
        if in_contact:
            self._had_contact = True
            if self._lost_at_ns is not None:
                self._outage, self._lost_at_ns = BrokerOutage(lost_at_ns=self._lost_at_ns, back_at_ns=now_ns), None
        elif self._had_contact:
            self._blind_until_ns = now_ns + SETTLE_NS
            self._lost_at_ns = now_ns if self._lost_at_ns is None else self._lost_at_ns
        return now_ns >= self._blind_until_ns
