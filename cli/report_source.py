"""What a report is made of: the messages of a period, read from the topics, with the places where they were read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.following import Follower, Seen
from cli.report_states import states_of
from processors.period_report import Period
from processors.quality.oee import StateChange
from processors.report_capability import wanted_channels
from schemas.alerts import Alert, AlertState
from schemas.charts import ChartPoint
from schemas.commands import Command
from schemas.errors import ConfigurationError
from schemas.inspections import ModelUse
from schemas.message import NS_PER_MS
from schemas.notifications import ResponseKind
from schemas.plant import Plant
from schemas.sensors import SensorReading
from schemas.settings import BudgetSettings, KafkaSettings
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
ALERTS_BACK_MS = 7 * 24 * 3_600_000
"""An alert that was raised earlier and is open still is not found."""


DECODED_RATIO = 4
"""What a message takes in memory, with what the report makes of it, to its body: a verdict decoded takes 2.4 to 3 times that."""


@dataclass(slots=True)
class Offsets:
    """The records of one partition that were read, first and last; and how many of them could not be decoded."""

    first: int
    last: int
    unreadable: int = 0


@dataclass(slots=True)
class Source:
    """The messages of a period. `offsets` by topic and partition; `models` by name, version and digest; `acknowledged_by` by episode.

    `not_kept` names the topics of which retention has removed a part of the period: what would be made of them is empty, or None.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    states: Mapping[str, list[StateChange]] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    open_alerts: list[Alert] = field(default_factory=list)
    acknowledged_by: dict[str, str] = field(default_factory=dict)
    open_commands: list[Command] = field(default_factory=list)
    points: list[ChartPoint] = field(default_factory=list)
    readings: list[SensorReading] | None = field(default_factory=list)
    models: set[ModelUse] = field(default_factory=set)
    offsets: dict[tuple[str, int], Offsets] = field(default_factory=dict)
    not_kept: set[str] = field(default_factory=set)
    held_bytes: int = 0

    def hold(self, seen: Seen, *, limit_bytes: int) -> None:
        """Room for one more message. Raises ConfigurationError where there is none: a report of a part of the period would be signed as
        whole."""
        self.held_bytes += DECODED_RATIO * seen.size_bytes
        if self.held_bytes > limit_bytes:
            raise ConfigurationError(
                f"the messages of the period take more than {limit_bytes >> 20} MiB, from "
                f"{seen.topic.name}/{seen.partition}/{seen.offset} on; expected fewer. Choose a shorter period "
                "(--from, --to, --shift), or raise LINESIGHT_BUDGET_WINDOWS_MIB"
            )

    def keeps(self, *topics: str) -> bool:
        """Whether nothing of the period is missing on these topics."""
        return self.not_kept.isdisjoint(topics)

    def forget_offsets(self, topic: Topic) -> None:
        """As if the topic had not been read."""
        self.offsets = {place: offsets for place, offsets in self.offsets.items() if place[0] != topic.name}

    def drop_halves(self) -> None:
        """Of what is kept in part only nothing is shown: it would be signed as whole."""
        if not self.keeps(PLC_EVENTS.name):
            self.states = {}
        if not self.keeps(ALERTS.name):
            self.alerts, self.open_alerts = [], []
        if not self.keeps(CHARTS.name):
            self.points = []
        if not self.keeps(SENSORS.name):
            self.readings = None
        if not self.keeps(COMMANDS.name, COMMAND_RESULTS.name):
            self.open_commands = []


def read_source(plant: Plant, kafka: KafkaSettings, period: Period) -> Source:
    """Reads every topic that a report needs, up to its present end: a review may come at any time.

    Raises ConfigurationError where verdicts of the period are not kept any more: a sheet with some of them would be signed as whole.
    """
    source = Source()
    limit_bytes = BudgetSettings().windows_bytes
    from_ms = period.from_ns // NS_PER_MS - CLOCK_MARGIN_MS

    def read(topic: Topic, *, back_ms: int = 0, held: Callable[[Any], bool] = _none) -> Iterator[Any]:
        source.forget_offsets(topic)  # read once more, from further back
        with Follower(plant=plant, settings=kafka, topics=(topic,), from_ms=from_ms - back_ms) as follower:
            if not follower.keeps_from(period.from_ns // NS_PER_MS):
                source.not_kept.add(topic.name)
            for seen in follower.drain():
                _note(source, seen)
                if seen.message is not None:
                    if held(seen.message):
                        source.hold(seen, limit_bytes=limit_bytes)
                    yield seen.message

    with Follower(plant=plant, settings=kafka, topics=(VERDICTS,)) as follower:
        follower.require_from(period.from_ns // NS_PER_MS)

    def of_the_period(verdict: Verdict) -> bool:
        return period.holds(verdict.arrived_at_ns)

    for verdict in filter(of_the_period, read(VERDICTS, held=of_the_period)):
        source.verdicts.append(verdict)
        source.models.update(verdict.models)
    with_plc = [station.name for station in plant.stations if station.plc is not None]
    source.states = states_of(lambda back_ms: read(PLC_EVENTS, back_ms=back_ms), stations=with_plc, period=period)
    _take_alerts(source, read(ALERTS, back_ms=ALERTS_BACK_MS), period)
    for response in read(ALERT_RESPONSES, back_ms=ALERTS_BACK_MS):
        if response.kind is ResponseKind.ACKNOWLEDGED and response.at_ns < period.to_ns:
            source.acknowledged_by.setdefault(response.episode, response.by)
    if plant.statistics.charts:

        def is_point(point: ChartPoint) -> bool:
            return period.holds(point.start_at_ns)

        source.points = list(filter(is_point, read(CHARTS, held=is_point)))
    if wanted := wanted_channels(plant):

        def is_wanted(reading: SensorReading) -> bool:
            return period.holds(reading.measured_at_ns) and (reading.asset, reading.channel) in wanted

        source.readings = list(filter(is_wanted, read(SENSORS, held=is_wanted)))
    answered = {result.id for result in read(COMMAND_RESULTS)}
    commands = {each.id: each for each in read(COMMANDS) if period.holds(each.issued_at_ns)}
    source.open_commands = [each for each in commands.values() if each.id not in answered]
    source.drop_halves()
    return source


def _none(message: object) -> bool:
    """Of most topics little is kept of a message, and not for each."""
    return False


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
