"""A rule tried on what was recorded: when it would have raised an alert, repeated it and cleared it. Nothing is sent.

Time is that of the records: a record is seen when it was written, and time passes between two of them as it did. What happened before the
first record is not known, so windows and averages begin empty there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from processors.alert_subjects import every_key
from processors.alerting import Alerting
from processors.sensor_limits import SensorLimits
from schemas.alert_rules import ChallengeRule, ChartRule, DefectRateRule, Rule, SensorLimitRule, WrongLaneRule
from schemas.alerts import Alert, AlertState
from schemas.errors import Refused
from schemas.message import NS_PER_S
from schemas.plant import Plant
from schemas.sensors import SensorReading
from schemas.topics import CHARTS, INSPECTIONS, PLC_EVENTS, SENSORS, VERDICTS, Topic

TICK_NS = NS_PER_S
MOST_TICKS = 10_000
"""Between two records: over a long pause time passes in larger steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A message and the time of its record, ns UTC."""

    at_ns: int
    message: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One alert that would have been: `cleared` is None where it was open at the end."""

    raised: Alert
    repeated: int
    cleared: Alert | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """What a rule would have said. `refused` is how many records could not be judged (of sensors that the plant file does not know)."""

    records: int
    refused: int
    episodes: tuple[Episode, ...]


def topics_of(rule: Rule) -> tuple[Topic, ...]:
    """What a rule is judged by."""
    match rule:
        case SensorLimitRule():
            return (SENSORS,)
        case DefectRateRule():
            return (VERDICTS,)
        case WrongLaneRule() | ChallengeRule():
            return (VERDICTS, PLC_EVENTS)
        case ChartRule():
            return (CHARTS,)
    return (INSPECTIONS, PLC_EVENTS)


def tried(rule: Rule, *, plant: Plant, records: Iterable[Recorded], until_ns: int | None = None) -> TrialResult:
    """The rule over `records`, which are in the order of their times; and then until `until_ns`, in which nothing comes.

    Any rule but an asset's watch, which learns before it judges.
    """
    alone = msgspec.structs.replace(plant, alerts=(rule,))
    trial = _SensorTrial(alone) if isinstance(rule, SensorLimitRule) else _LineTrial(alone)
    alerts, count, now_ns = list[Alert](), 0, None
    for record in records:
        alerts += trial.pass_time(now_ns, record.at_ns)
        alerts += trial.take(record)
        count, now_ns = count + 1, record.at_ns
    if until_ns is not None and now_ns is not None:
        alerts += trial.pass_time(now_ns, until_ns)
    return TrialResult(records=count, refused=trial.refused, episodes=tuple(_episodes(alerts)))


class _LineTrial:
    def __init__(self, plant: Plant) -> None:
        self._alerting = Alerting(plant=plant, owns=every_key)
        self.refused = 0

    def take(self, record: Recorded) -> list[Alert]:
        found = self._alerting.take(record.message, at_ns=record.at_ns, now_ns=record.at_ns)  # type: ignore[arg-type]
        return [step.alert for step in found]

    def pass_time(self, since_ns: int | None, until_ns: int) -> list[Alert]:
        return [step.alert for now_ns in _ticks(since_ns, until_ns) for step in self._alerting.tick(now_ns)]


class _SensorTrial(_LineTrial):
    def __init__(self, plant: Plant) -> None:
        super().__init__(plant)
        self._limits = SensorLimits(plant=plant)

    def take(self, record: Recorded) -> list[Alert]:
        assert isinstance(record.message, SensorReading), "topics_of says what is read"
        try:
            return [step.alert for step in self._limits.take(record.message, at_ns=record.at_ns) or ()]
        except Refused:
            self.refused += 1
            return []

    def pass_time(self, since_ns: int | None, until_ns: int) -> list[Alert]:
        return [step.alert for now_ns in _ticks(since_ns, until_ns) for step in self._limits.tick(now_ns)]


def _ticks(since_ns: int | None, until_ns: int) -> Iterator[int]:
    if since_ns is None:
        return
    step_ns = max(TICK_NS, (until_ns - since_ns) // MOST_TICKS)
    yield from range(since_ns + step_ns, until_ns + 1, step_ns)


def _episodes(alerts: Iterable[Alert]) -> Iterator[Episode]:
    open_alerts: dict[str, tuple[Alert, int]] = {}
    for alert in alerts:
        match alert.state:
            case AlertState.RAISED:
                open_alerts[alert.episode] = alert, 0
            case AlertState.REPEATED:
                raised, repeated = open_alerts[alert.episode]
                open_alerts[alert.episode] = raised, repeated + 1
            case AlertState.CLEARED:
                raised, repeated = open_alerts.pop(alert.episode)
                yield Episode(raised=raised, repeated=repeated, cleared=alert)
    for raised, repeated in open_alerts.values():
        yield Episode(raised=raised, repeated=repeated, cleared=None)
