"""The life of an alert: raised once, repeated after longer and longer pauses, cleared. What a rule finds goes in, messages come out.

An episode is `rule/subject/since`, where `since` is the event time of what raised it: the same cause gives the same ids after
a restart. What a restart reads again and is on the topic already is not told again: a finding from before the last clearance
raises nothing, and one from before the open episode clears nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from schemas.alert_rules import AlertRule
from schemas.alerts import Alert, AlertState
from schemas.message import NS_PER_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """A rule holds for a subject. `since_ns` is the event time of what made it hold. `station` is where an action acts."""

    rule: str
    subject: str
    line: str
    station: str | None
    since_ns: int
    at_ns: int
    summary: str
    value: float | None = None
    threshold: float | None = None
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """A rule does not hold any more for a subject."""

    rule: str
    subject: str
    at_ns: int
    summary: str
    value: float | None = None


Finding = Raise | Clear


@dataclass(slots=True)
class _Open:
    raised: Alert
    repeats: int
    told_at_ns: int


class Episodes:
    """The open alerts of some rules. Rules may say again and again that they hold; only the turns become alerts."""

    def __init__(self, rules: Iterable[AlertRule]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._open: dict[tuple[str, str], _Open] = {}
        self._cleared_before_ns: dict[tuple[str, str], int] = {}

    def recall(self, alert: Alert) -> None:
        """An alert that stands on the topic; recall them in the order in which they were raised, repeated and cleared."""
        if alert.rule not in self._rules:
            return
        key = (alert.rule, alert.subject)
        if alert.state is AlertState.CLEARED:
            self._open.pop(key, None)
            self._cleared_before_ns[key] = alert.at_ns
            return
        known = self._open.get(key)
        if known is None or known.raised.episode != alert.episode:
            self._open[key] = _Open(raised=alert, repeats=alert.repeat, told_at_ns=alert.at_ns)
        elif alert.repeat > known.repeats:
            known.repeats, known.told_at_ns = alert.repeat, alert.at_ns

    def open_subjects(self, rule: str) -> list[str]:
        """Subjects for which an alert of the rule is open."""
        return [subject for name, subject in self._open if name == rule]

    def is_open(self, rule: str, subject: str) -> bool:
        """Whether an alert of the rule is open for the subject."""
        return (rule, subject) in self._open

    def apply(self, findings: Sequence[Finding], *, action: bool = True) -> list[Alert]:
        """The alerts that follow from findings, in their order. `action`: whether a rule's action can be carried out."""
        alerts = []
        for finding in findings:
            alert = self._raised(finding, action=action) if isinstance(finding, Raise) else self._cleared(finding)
            if alert is not None:
                alerts.append(alert)
        return alerts

    def repeats(self, now_ns: int) -> list[Alert]:
        """The alerts that are to be told again."""
        alerts = []
        for open_alert in self._open.values():
            raised = open_alert.raised
            after_ms = _pause_ms(self._rules[raised.rule], open_alert.repeats)
            if after_ms is None or now_ns - open_alert.told_at_ns < after_ms * NS_PER_MS:
                continue
            open_alert.repeats += 1
            open_alert.told_at_ns = now_ns
            alerts.append(
                _step(raised, AlertState.REPEATED, number=open_alert.repeats, at_ns=now_ns, summary=raised.summary)
            )
        return alerts

    def _raised(self, finding: Raise, *, action: bool) -> Alert | None:
        key = (finding.rule, finding.subject)
        if key in self._open or finding.at_ns <= self._cleared_before_ns.get(key, -1):
            return None
        rule = self._rules[finding.rule]
        episode = f"{finding.rule}/{finding.subject}/{finding.since_ns}"
        alert = Alert(
            id=f"{episode}/{AlertState.RAISED.value}/0",
            line=finding.line,
            rule=finding.rule,
            subject=finding.subject,
            severity=rule.severity,
            state=AlertState.RAISED,
            episode=episode,
            since_at_ns=finding.since_ns,
            at_ns=finding.at_ns,
            summary=finding.summary,
            value=finding.value,
            threshold=finding.threshold,
            evidence=finding.evidence,
            action=rule.action if action and finding.station is not None else None,
            station=finding.station or "",
            approval=(rule.approval or "") if action and rule.action and finding.station is not None else "",
        )
        self._open[key] = _Open(raised=alert, repeats=0, told_at_ns=finding.at_ns)
        return alert

    def _cleared(self, finding: Clear) -> Alert | None:
        key = (finding.rule, finding.subject)
        open_alert = self._open.get(key)
        if open_alert is None or finding.at_ns < open_alert.raised.since_at_ns:
            return None
        del self._open[key]
        step = _step(open_alert.raised, AlertState.CLEARED, number=0, at_ns=finding.at_ns, summary=finding.summary)
        return msgspec.structs.replace(step, value=finding.value, evidence=())


def _step(raised: Alert, state: AlertState, *, number: int, at_ns: int, summary: str) -> Alert:
    return msgspec.structs.replace(
        raised,
        id=f"{raised.episode}/{state.value}/{number}",
        state=state,
        at_ns=at_ns,
        repeat=number,
        summary=summary,
        action=None,
        approval="",
    )


def _pause_ms(rule: AlertRule, repeats: int) -> int | None:
    """How long an alert that was repeated so often is not told again: twice as long each time, up to a bound."""
    if rule.repeat_after_ms is None:
        return None
    doubled = rule.repeat_after_ms << min(repeats, 32)
    return min(doubled, max(rule.repeat_after_ms, rule.longest_repeat_ms))
