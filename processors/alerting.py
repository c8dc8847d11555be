"""The alert rules of a plant file, from messages to alerts and what follows from them: a line stop, and its audit entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from processors.alert_actions import AlertStep, can_act, with_action
from processors.alert_broker import BrokerWatch
from processors.alert_challenge import ChallengeWatch
from processors.alert_chart import ChartWatch
from processors.alert_defect_rate import DefectRate
from processors.alert_episodes import Episodes, Finding, Raise
from processors.alert_faults import MissingFrames, PlcHeartbeat
from processors.alert_image_health import ImageHealthWatch
from processors.alert_rules import AlertInput, Watch
from processors.alert_silence import SilentCamera, SilentStation
from processors.alert_wrong_lane import WrongLane
from schemas.alert_rules import (
    SENSOR_RULES,
    AlertRule,
    BrokerAwayRule,
    ChallengeRule,
    ChartRule,
    DefectRateRule,
    ImageHealthRule,
    MissingFramesRule,
    PlcHeartbeatRule,
    Rule,
    SilentCameraRule,
    SilentStationRule,
    WrongLaneRule,
)
from schemas.alerts import Alert
from schemas.inspections import Inspection
from schemas.plant import Plant


class Alerting:
    """All alert rules but the sensors' over some stations. First `recall` what is on the topics, then `take` and `tick`."""

    def __init__(self, *, plant: Plant, stations: frozenset[str]) -> None:
        self._plant = plant
        self._rules = {rule.name: rule for rule in plant.alerts if not isinstance(rule, SENSOR_RULES)}
        self._watches = {rule.name: _watch(rule, plant, stations) for rule in self._rules.values()}
        self._episodes = Episodes(self._rules.values())

    @property
    def open_alerts(self) -> dict[str, int]:
        """How many alerts are open, by rule."""
        return {name: len(self._episodes.open_subjects(name)) for name in self._rules}

    def recall_alert(self, alert: Alert, *, now_ns: int) -> None:
        """An alert that went out before we began."""
        self._episodes.recall(alert)
        if self._episodes.is_open(alert.rule, alert.subject):
            self._watches[alert.rule].resume(alert.subject, now_ns)

    def recall(self, message: AlertInput, *, at_ns: int, now_ns: int) -> None:
        """A message that was judged before we began: remembered, not judged again."""
        for watch in self._watches.values():
            watch.remember(message, at_ns=at_ns, now_ns=now_ns)

    def take(self, message: AlertInput, *, at_ns: int, now_ns: int) -> list[AlertStep]:
        """A message whose record has the time `at_ns`. Of a frame that was deferred, the deferral said what there is to say."""
        if isinstance(message, Inspection) and message.was_deferred:
            return []
        return [
            step
            for watch in self._watches.values()
            for step in self._steps(watch.see(message, at_ns=at_ns, now_ns=now_ns))
        ]

    def tick(self, now_ns: int) -> list[AlertStep]:
        """Time has passed: silences, clearances, repetitions."""
        found = [step for watch in self._watches.values() for step in self._steps(watch.tick(now_ns))]
        return found + [AlertStep(alert=alert) for alert in self._episodes.repeats(now_ns)]

    def _steps(self, findings: Sequence[Finding]) -> Iterator[AlertStep]:
        for finding in findings:
            station = self._plant.station(finding.station or "") if isinstance(finding, Raise) else None
            rule = self._rules[finding.rule]
            for alert in self._episodes.apply([finding], action=can_act(rule, station)):
                yield with_action(alert, rule)


_WATCHES: dict[type[AlertRule], Callable[..., Watch]] = {
    SilentCameraRule: SilentCamera,
    SilentStationRule: SilentStation,
    MissingFramesRule: MissingFrames,
    PlcHeartbeatRule: PlcHeartbeat,
    BrokerAwayRule: BrokerWatch,
    ImageHealthRule: ImageHealthWatch,
    WrongLaneRule: WrongLane,
    ChallengeRule: ChallengeWatch,
    ChartRule: ChartWatch,
}
"""Of each rule that needs the plant. What sensors say is judged by the sensors stage."""


def _watch(rule: Rule, plant: Plant, stations: frozenset[str]) -> Watch:
    if isinstance(rule, DefectRateRule):
        return DefectRate(rule, stations=stations)
    return _WATCHES[type(rule)](rule, plant=plant, stations=stations)
