"""Defect rate: the share of NOT_OK among a station's decided parts of the last `window_ms` of event time, challenge parts left out."""

from __future__ import annotations

from collections import OrderedDict
from heapq import heappop, heappush
from itertools import islice
from typing import NamedTuple

from processors.alert_episodes import Clear, Finding, Raise
from processors.alert_rules import AlertInput
from schemas.alert_rules import DefectRateRule
from schemas.message import NS_PER_MS
from schemas.reasons import VerdictValue
from schemas.verdicts import Verdict

EVIDENCE = 10
DECIDED = (VerdictValue.OK, VerdictValue.NOT_OK)


Visit = tuple[str, int]


class _Part(NamedTuple):
    arrived_at_ns: int
    revision: int
    verdict: VerdictValue


class _Window:
    """The parts of a station's last `length_ns` of event time, counted as they come and go: a verdict costs O(log n), whatever the rate.

    As many parts are held as arrive in the window.
    """

    def __init__(self, *, length_ns: int) -> None:
        self._length_ns = length_ns
        self._newest_ns = 0
        self._parts: dict[Visit, _Part] = {}
        self._by_arrival: list[tuple[int, Visit]] = []
        self._bad: OrderedDict[Visit, str] = OrderedDict()
        self.decided = 0

    @property
    def bad(self) -> int:
        """Parts NOT_OK."""
        return len(self._bad)

    def evidence(self) -> tuple[str, ...]:
        """Verdicts of the parts that became NOT_OK last, oldest first."""
        return tuple(reversed(list(islice(reversed(self._bad.values()), EVIDENCE))))

    def take(self, verdict: Verdict) -> bool:
        """Whether the verdict changed anything: the newest revision of a part counts."""
        visit = (verdict.part_id, verdict.visit)
        self._newest_ns = max(self._newest_ns, verdict.arrived_at_ns)
        known = self._parts.get(visit)
        if known is not None and verdict.revision <= known.revision:
            return False
        self._forget(visit)
        part = self._parts[visit] = _Part(verdict.arrived_at_ns, verdict.revision, verdict.verdict)
        self.decided += part.verdict in DECIDED
        if part.verdict is VerdictValue.NOT_OK:
            self._bad[visit] = verdict.id
        if known is None or known.arrived_at_ns != part.arrived_at_ns:
            heappush(self._by_arrival, (part.arrived_at_ns, visit))
        while self._by_arrival and self._by_arrival[0][0] <= self._newest_ns - self._length_ns:
            arrived_at_ns, old = heappop(self._by_arrival)
            if old in self._parts and self._parts[old].arrived_at_ns == arrived_at_ns:
                self._forget(old)
        return True

    def _forget(self, visit: Visit) -> None:
        part = self._parts.pop(visit, None)
        if part is not None:
            self.decided -= part.verdict in DECIDED
            self._bad.pop(visit, None)


class DefectRate:
    """Raised at `raise_ratio` or more, cleared below `clear_ratio`, each judged on at least `minimum_parts` decided parts.

    In between it stays as it is. The newest revision of a part's verdict counts. Without parts nothing is known: an alert stays.
    """

    def __init__(self, rule: DefectRateRule, *, stations: frozenset[str]) -> None:
        self._rule = rule
        self._stations = stations if rule.station is None else stations & {rule.station}
        self._windows = {name: _Window(length_ns=rule.window_ms * NS_PER_MS) for name in self._stations}

    def see(self, message: AlertInput, *, at_ns: int, now_ns: int) -> list[Finding]:
        """Counts a verdict."""
        if not isinstance(message, Verdict) or message.station not in self._stations or message.challenge:
            return []
        window = self._windows[message.station]
        return self._judge(message, window) if window.take(message) else []

    def remember(self, message: AlertInput, *, at_ns: int, now_ns: int) -> None:
        """Fills the window."""
        self.see(message, at_ns=at_ns, now_ns=now_ns)

    def tick(self, now_ns: int) -> list[Finding]:
        """Time alone changes no rate."""
        return []

    def resume(self, subject: str, now_ns: int) -> None:
        """The parts of the window were read back."""

    def _judge(self, verdict: Verdict, window: _Window) -> list[Finding]:
        if window.decided < self._rule.minimum_parts:
            return []
        ratio = window.bad / window.decided
        told = f"{window.bad} of {window.decided} parts NOT_OK at {verdict.station} within {self._rule.window_ms / 1000:g} s"
        if ratio >= self._rule.raise_ratio:
            return [
                Raise(
                    rule=self._rule.name,
                    subject=verdict.station,
                    line=verdict.line,
                    station=verdict.station,
                    since_ns=verdict.decided_at_ns,
                    at_ns=verdict.decided_at_ns,
                    summary=told,
                    value=ratio,
                    threshold=self._rule.raise_ratio,
                    evidence=window.evidence(),
                )
            ]
        if ratio < self._rule.clear_ratio:
            return [
                Clear(
                    rule=self._rule.name,
                    subject=verdict.station,
                    at_ns=verdict.decided_at_ns,
                    summary=told,
                    value=ratio,
                )
            ]
        return []
