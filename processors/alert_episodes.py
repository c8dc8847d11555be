"""The life of an alert: raised once, repeated after longer and longer pauses, cleared. What a rule finds goes in, messages come out.

An episode is `rule/subject/since`, where `since` is the event time of what raised it: the same cause gives the same ids after
a restart. What a restart reads again and is on the topic already is not told again: a finding from before the last clearance
raises nothing, and one from before the open episode clears nothing.

The episodes of a rule and subject have rising times, whatever the clocks say: a cause that is no later than that of the last episode (a
point that was corrected and signals again; a judge whose clock is behind that of the one before) is dated one ns after it. Receivers and
the PLC's gateway know an episode by its id, and take an older time for one that they had.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from processors.alert_subjects import Owns, every_key, key_of
from processors.open_alerts import REMEMBERED_ENDS, OpenAlerts, Place
from schemas.alert_rules import AlertRule
from schemas.alerts import Alert, AlertState
from schemas.message import NS_PER_MS
from schemas.notifications import AlertResponse
from schemas.plant import Plant


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


def no_rule(name: str) -> bool:
    """No rule that is not in the plant file any more is looked after."""
    return False


class Episodes:
    """The open alerts of some rules. Rules may say again and again that they hold; only the turns become alerts.

    Recalled are only those of subjects that are ours: another process speaks for the others. An open alert that nothing will ever clear,
    because the plant file does not know its rule or subject any more, ends with the first tick.
    """

    def __init__(
        self,
        rules: Iterable[AlertRule],
        *,
        plant: Plant,
        owns: Owns = every_key,
        is_removed: Callable[[str], bool] = no_rule,
    ) -> None:
        """`is_removed`: whether a rule of that name is nobody's any more, and its open alerts are ours to end."""
        self._rules = {rule.name: rule for rule in rules}
        self._key_of = lru_cache(maxsize=REMEMBERED_ENDS)(
            lambda rule, subject: key_of(self._rules[rule], subject, plant) if rule in self._rules else None
        )
        self._owns = owns
        self._is_removed = is_removed
        self._open = OpenAlerts()
        self._told_until_ns: OrderedDict[Place, int] = OrderedDict()
        self._left_over: set[Place] = set()

    def recall(self, alert: Alert) -> bool:
        """An alert that stands on the topic, in their order. Whether it is one that a watch of ours looks after."""
        place = (alert.rule, alert.subject)
        if alert.rule not in self._rules and not self._is_removed(alert.rule):
            return False
        key = self._key_of(*place)
        if not self._owns(key if key is not None else alert.line):
            return False
        self._open.take(alert)
        if key is None:
            self._left_over.add(place)
        if alert.state is AlertState.CLEARED:
            self._told_until_ns[place] = alert.at_ns
            self._told_until_ns.move_to_end(place)
            if len(self._told_until_ns) > REMEMBERED_ENDS:
                self._told_until_ns.popitem(last=False)
        return key is not None

    def open_subjects(self, rule: str) -> list[str]:
        """Subjects for which an alert of the rule is open."""
        return [each.raised.subject for each in self._open if each.raised.rule == rule]

    def is_open(self, rule: str, subject: str) -> bool:
        """Whether an alert of the rule is open for the subject."""
        return self._open.of((rule, subject)) is not None

    def apply(self, findings: Sequence[Finding], *, action: bool = True) -> list[Alert]:
        """The alerts that follow from findings, in their order. `action`: whether a rule's action can be carried out.

        An alert that was raised without its action (nobody could act on it then) and is found again when it can be carried out ends, and
        another one begins: an action belongs to the beginning of an episode.
        """
        alerts: list[Alert] = []
        for finding in findings:
            alerts += self._raised(finding, action=action) if isinstance(finding, Raise) else self._cleared(finding)
        return alerts

    def close(self, response: AlertResponse, *, now_ns: int) -> list[Alert]:
        """A person says that an alert is over: of the episode, if it is open and ours. It ends now, by our clock, not by theirs."""
        known = self._open.of((response.rule, response.subject))
        if known is None or known.raised.episode != response.episode:
            return []
        why = f"closed by {response.by}" + (f": {response.reason}" if response.reason else "")
        return [self._end(known.raised, at_ns=now_ns, summary=why)]

    def tick(self, now_ns: int) -> list[Alert]:
        """Time has passed: the alerts that nothing clears any more end, others are told again."""
        return [*self._ended_by_the_plant_file(now_ns), *self._repeats(now_ns)]

    def _ended_by_the_plant_file(self, now_ns: int) -> Iterator[Alert]:
        for place in sorted(self._left_over):
            known = self._open.of(place)
            if known is None:
                continue
            rule, subject = place
            missing = f"rule {rule}" if rule not in self._rules else f"subject {subject} of rule {rule}"
            yield self._end(known.raised, at_ns=now_ns, summary=f"the plant file has no {missing} any more")
        self._left_over.clear()

    def _repeats(self, now_ns: int) -> list[Alert]:
        alerts = []
        for known in self._open:
            raised = known.raised
            after_ms = _pause_ms(self._rules[raised.rule], known.repeats)
            if after_ms is None or now_ns - known.told_at_ns < after_ms * NS_PER_MS:
                continue
            number = known.repeats + 1
            alerts.append(_step(raised, AlertState.REPEATED, number=number, at_ns=now_ns, summary=raised.summary))
        for alert in alerts:
            self._open.take(alert)
        return alerts

    def _raised(self, finding: Raise, *, action: bool) -> list[Alert]:
        place = (finding.rule, finding.subject)
        rule, known = self._rules[finding.rule], self._open.of(place)
        acts = rule.action is not None and action and finding.station is not None
        if finding.at_ns <= self._told_until_ns.get(place, -1):
            return []
        ended = []
        if known is not None:
            if not acts or known.raised.action is not None:
                return []
            told = f"goes on, and {rule.action} is asked for: {finding.summary}"
            ended = [self._end(known.raised, at_ns=finding.at_ns, summary=told)]
        last = self._open.last_end(place)
        since_ns = finding.since_ns if last is None else max(finding.since_ns, last.since_at_ns + 1)
        episode = f"{finding.rule}/{finding.subject}/{since_ns}"
        alert = Alert(
            id=f"{episode}/{AlertState.RAISED.value}/0",
            line=finding.line,
            rule=finding.rule,
            subject=finding.subject,
            severity=rule.severity,
            state=AlertState.RAISED,
            episode=episode,
            since_at_ns=since_ns,
            at_ns=finding.at_ns,
            summary=finding.summary,
            value=finding.value,
            threshold=finding.threshold,
            evidence=finding.evidence,
            action=rule.action if acts else None,
            station=finding.station or "",
            approval=(rule.approval or "") if acts else "",
        )
        self._open.take(alert)
        return [*ended, alert]

    def _cleared(self, finding: Clear) -> list[Alert]:
        known = self._open.of((finding.rule, finding.subject))
        if known is None or finding.at_ns < known.raised.since_at_ns:
            return []
        return [self._end(known.raised, at_ns=finding.at_ns, summary=finding.summary, value=finding.value)]

    def _end(self, raised: Alert, *, at_ns: int, summary: str, value: float | None = None) -> Alert:
        step = _step(raised, AlertState.CLEARED, number=0, at_ns=at_ns, summary=summary)
        ended = msgspec.structs.replace(step, value=value, evidence=())
        self._open.take(ended)
        return ended


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
