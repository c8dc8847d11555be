"""The broker was away: nothing can be said of it before it is back, and then it explains what seems silent or missing.

The alerts stage watches its contact (`alert_sight`) and tells of an outage when it is over. An alert is raised for each line whose first
station is ours, so that of several processes one speaks for a line.
"""

from __future__ import annotations

from processors.alert_episodes import Clear, Finding, Raise
from processors.alert_rules import AlertInput, BrokerOutage
from schemas.alert_rules import BrokerAwayRule
from schemas.message import NS_PER_MS
from schemas.plant import Plant


class BrokerWatch:
    """Raised by an outage that lasted, cleared when the contact has held for `clear_after_ms`; another outage begins that time anew."""

    def __init__(self, rule: BrokerAwayRule, *, plant: Plant, stations: frozenset[str]) -> None:
        self._rule = rule
        self._lines = [line.name for line in plant.lines if line.stations and line.stations[0].name in stations]
        self._back_since_ns: dict[str, int] = {}

    def see(self, message: AlertInput, *, at_ns: int, now_ns: int) -> list[Finding]:
        """An outage that is over."""
        if not isinstance(message, BrokerOutage):
            return []
        for line in self._back_since_ns:
            self._back_since_ns[line] = now_ns
        lasted_ms = (message.back_at_ns - message.lost_at_ns) / NS_PER_MS
        if lasted_ms < self._rule.after_ms:
            return []
        self._back_since_ns = dict.fromkeys(self._lines, now_ns)
        told = f"the broker was away for {lasted_ms / 1000:.0f} s: what was told in that time comes late, or waits on a disk"
        return [
            Raise(
                rule=self._rule.name,
                subject=line,
                line=line,
                station=None,
                since_ns=message.lost_at_ns,
                at_ns=message.back_at_ns,
                summary=told,
                value=lasted_ms,
                threshold=float(self._rule.after_ms),
            )
            for line in self._lines
        ]

    def remember(self, message: AlertInput, *, at_ns: int, now_ns: int) -> None:
        """Outages from before are alerts already, or over."""

    def tick(self, now_ns: int) -> list[Finding]:
        """Contact that has held long enough."""
        steady = [
            line
            for line, since_ns in self._back_since_ns.items()
            if now_ns - since_ns >= self._rule.clear_after_ms * NS_PER_MS
        ]
        for line in steady:
            del self._back_since_ns[line]
        told = f"the broker has been there for {self._rule.clear_after_ms / 1000:g} s"
        return [Clear(rule=self._rule.name, subject=line, at_ns=now_ns, summary=told) for line in steady]

    def resume(self, subject: str, now_ns: int) -> None:
        """The time with contact begins anew."""
        self._back_since_ns.setdefault(subject, now_ns)
