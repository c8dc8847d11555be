"""Defect rate: the share of NOT_OK among a station's decided parts of the last `window_ms` of event time, challenge parts left out."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from processors.alert_episodes import Clear, Finding, Raise
from processors.alert_rules import AlertInput
from schemas.alert_rules import DefectRateRule
from schemas.message import NS_PER_MS
from schemas.reasons import VerdictValue
from schemas.verdicts import Verdict

EVIDENCE = 10


class _Part(NamedTuple):
    arrived_at_ns: int
    revision: int
    verdict: VerdictValue
    verdict_id: str


class DefectRate:
    """Raised at `raise_ratio` or more, cleared below `clear_ratio`, each judged on at least `minimum_parts` decided parts.

    In between it stays as it is. The newest revision of a part's verdict counts. Without parts nothing is known: an alert stays.
    """

    def __init__(self, rule: DefectRateRule, *, stations: frozenset[str]) -> None:
        self._rule = rule
        self._stations = stations if rule.station is None else stations & {rule.station}
        self._parts: dict[str, OrderedDict[tuple[str, int], _Part]] = {name: OrderedDict() for name in self._stations}
        self._newest_ns: dict[str, int] = {}

    def see(self, message: AlertInput, *, at_ns: int, now_ns: int) -> list[Finding]:
        """Counts a verdict."""
        if not isinstance(message, Verdict) or message.station not in self._stations or message.challenge:
            return []
        parts, key = self._parts[message.station], (message.part_id, message.visit)
        newest_ns = self._newest_ns[message.station] = max(
            message.arrived_at_ns, self._newest_ns.get(message.station, 0)
        )
        known = parts.get(key)
        if known is not None and message.revision <= known.revision:
            return []
        parts[key] = _Part(message.arrived_at_ns, message.revision, message.verdict, message.id)
        oldest_ns = newest_ns - self._rule.window_ms * NS_PER_MS
        for old in [key for key, part in parts.items() if part.arrived_at_ns <= oldest_ns]:
            del parts[old]
        return self._judge(message, parts)

    def remember(self, message: AlertInput, *, at_ns: int, now_ns: int) -> None:
        """Fills the window."""
        self.see(message, at_ns=at_ns, now_ns=now_ns)

    def tick(self, now_ns: int) -> list[Finding]:
        """Time alone changes no rate."""
        return []

    def resume(self, subject: str, now_ns: int) -> None:
        """The parts of the window were read back."""

    def _judge(self, verdict: Verdict, parts: OrderedDict[tuple[str, int], _Part]) -> list[Finding]:
        bad = [part for part in parts.values() if part.verdict is VerdictValue.NOT_OK]
        decided = len(bad) + sum(part.verdict is VerdictValue.OK for part in parts.values())
        if decided < self._rule.minimum_parts:
            return []
        ratio = len(bad) / decided
        told = f"{len(bad)} of {decided} parts NOT_OK at {verdict.station} within {self._rule.window_ms / 1000:g} s"
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
                    evidence=tuple(part.verdict_id for part in bad[-EVIDENCE:]),
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
