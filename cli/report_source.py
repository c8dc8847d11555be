"""What a report is made of: the messages of a period, read from the topics, with the places where they were read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cli.following import Follower, Seen
from processors.period_report import Period
from processors.quality.oee import StateChange
from processors.report_capability import wanted_channels
from schemas.alerts import Alert, AlertState
from schemas.charts import ChartPoint
from schemas.commands import Command
from schemas.inspections import ModelUse
from schemas.message import NS_PER_MS
from schemas.notifications import ResponseKind
from schemas.plant import Plant
from schemas.plc_events import LineStateChanged
from schemas.sensors import SensorReading
from schemas.settings import KafkaSettings
from schemas.topics import (
    ALERT_RESPONSES,
    ALERTS,
    CHARTS,
    COMMAND_RESULTS,
    COMMANDS,
    PLC_EVENTS,
    SENSORS,
    VERDICTS,
    Topic,
)
from schemas.verdicts import Verdict

CLOCK_MARGIN_MS = 15 * 60_000
"""By how much the clocks of a broker and of a producer may differ."""
STATES_BACK_MS = 24 * 3_600_000
"""How far back a line's state is looked for that it was in when the period began."""
ALERTS_BACK_MS = 7 * 24 * 3_600_000
"""An alert that was raised earlier and is open still is not found."""


@dataclass(slots=True)
class Offsets:
    """The records of one partition that were read, first and last; and how many of them could not be decoded."""

    first: int
    last: int
    unreadable: int = 0


@dataclass(slots=True)
class Source:
    """The messages of a period. `offsets` by topic and partition; `models` by name, version and digest; `readings` None where
    retention has removed some; `acknowledged_by` by episode."""

    verdicts: list[Verdict] = field(default_factory=list)
    states: dict[str, list[StateChange]] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    open_alerts: list[Alert] = field(default_factory=list)
    acknowledged_by: dict[str, str] = field(default_factory=dict)
    open_commands: list[Command] = field(default_factory=list)
    points: list[ChartPoint] = field(default_factory=list)
    readings: list[SensorReading] | None = field(default_factory=list)
    models: set[ModelUse] = field(default_factory=set)
    offsets: dict[tuple[str, int], Offsets] = field(default_factory=dict)


def read_source(plant: Plant, kafka: KafkaSettings, period: Period) -> Source:
    """Reads every topic that a report needs, up to its present end: a review may come at any time.

    Raises ConfigurationError where verdicts of the period are not kept any more: a sheet with some of them would be signed as whole.
    """
    source = Source()
    from_ms = period.from_ns // NS_PER_MS - CLOCK_MARGIN_MS

    def read(topic: Topic, *, back_ms: int = 0) -> Iterator[Any]:
        with Follower(plant=plant, settings=kafka, topics=(topic,), from_ms=from_ms - back_ms) as follower:
            for seen in follower.drain():
                _note(source, seen)
                if seen.message is not None:
                    yield seen.message

    with Follower(plant=plant, settings=kafka, topics=(VERDICTS,)) as follower:
        follower.require_from(period.from_ns // NS_PER_MS)
    for verdict in read(VERDICTS):
        if period.holds(verdict.arrived_at_ns):
            source.verdicts.append(verdict)
            source.models.update(verdict.models)
    for event in read(PLC_EVENTS, back_ms=STATES_BACK_MS):
        if isinstance(event, LineStateChanged) and event.occurred_at_ns < period.to_ns:
            source.states.setdefault(event.station, []).append(StateChange(event.occurred_at_ns, event.mode))
    _take_alerts(source, read(ALERTS, back_ms=ALERTS_BACK_MS), period)
    for response in read(ALERT_RESPONSES, back_ms=ALERTS_BACK_MS):
        if response.kind is ResponseKind.ACKNOWLEDGED and response.at_ns < period.to_ns:
            source.acknowledged_by.setdefault(response.episode, response.by)
    if plant.statistics.charts:
        source.points = [point for point in read(CHARTS) if period.holds(point.start_at_ns)]
    if wanted := wanted_channels(plant):
        with Follower(plant=plant, settings=kafka, topics=(SENSORS,)) as follower:
            follower.require_from(period.from_ns // NS_PER_MS)
        source.readings = [
            each for each in read(SENSORS) if period.holds(each.measured_at_ns) and (each.asset, each.channel) in wanted
        ]
    answered = {result.id for result in read(COMMAND_RESULTS)}
    commands = {each.id: each for each in read(COMMANDS) if period.holds(each.issued_at_ns)}
    source.open_commands = [each for each in commands.values() if each.id not in answered]
    return source


def _note(source: Source, seen: Seen) -> None:
    place = source.offsets.setdefault((seen.topic.name, seen.partition), Offsets(seen.offset, seen.offset))
    place.last = seen.offset
    place.unreadable += seen.message is None


def _take_alerts(source: Source, alerts: Iterator[Alert], period: Period) -> None:
    newest: dict[str, Alert] = {}
    known: set[str] = set()
    for alert in alerts:
        if alert.id in known or alert.at_ns >= period.to_ns:
            continue
        known.add(alert.id)
        if period.holds(alert.at_ns):
            source.alerts.append(alert)
        if alert.episode not in newest or alert.at_ns >= newest[alert.episode].at_ns:
            newest[alert.episode] = alert
    source.open_alerts = [alert for alert in newest.values() if alert.state is not AlertState.CLEARED]
