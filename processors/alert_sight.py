"""Whether silence means anything: while the broker is away nothing is seen of the line, so nothing can be said to be missing."""

from __future__ import annotations

from schemas.message import NS_PER_S

SETTLE_NS = 5 * NS_PER_S
"""What came in the meantime is read first."""


class Sight:
    """Contact with the broker, and whether it has lasted long enough since it was lost."""

    def __init__(self) -> None:
        self._had_contact = False
        self._blind_until_ns = 0

    def sees(self, *, in_contact: bool, now_ns: int) -> bool:
        """Whether what does not come is missing. At a start it is, as soon as there is contact: watches count from what they saw."""
        if in_contact:
            self._had_contact = True
        elif self._had_contact:
            self._blind_until_ns = now_ns + SETTLE_NS
        return now_ns >= self._blind_until_ns
