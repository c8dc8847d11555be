"""Whose an alert is: the key of the records that its rule judges its subject by. Who reads that key's partition looks after the alert.

Several processes of a stage share the partitions. Each knows all alerts from the topic, and may speak only for its own.
"""

from __future__ import annotations

from collections.abc import Callable

from schemas.alert_rules import (
    AlertRule,
    AssetWatchRule,
    BrokerAwayRule,
    ChallengeRule,
    ChartRule,
    DefectRateRule,
    ImageHealthRule,
    MissingFramesRule,
    PlcHeartbeatRule,
    SensorLimitRule,
    SilentCameraRule,
    SilentStationRule,
    WrongLaneRule,
)
from schemas.chart_settings import Measurement
from schemas.plant import Plant

Owns = Callable[[str], bool]
"""Whether the records of a key (a station, a line, an asset) are ours."""


def every_key(key: str) -> bool:
    """One process for everything."""
    return True


def key_of(rule: AlertRule, subject: str, plant: Plant) -> str | None:
    """A station, of a chart's points their line, of sensor rules an asset. None where the plant file knows no such subject of the rule
    any more: nothing will ever say of it again whether the rule holds."""
    key: str | None
    match rule:
        case DefectRateRule():
            key = _station(subject, plant, only=rule.station)
        case SilentStationRule() | PlcHeartbeatRule() | WrongLaneRule():
            key = _station(subject, plant)
        case SilentCameraRule() | MissingFramesRule():
            key = _station_of_camera(subject, plant)
        case ImageHealthRule():
            key = _station_of_view(subject, plant, only=rule.camera)
        case ChallengeRule():
            key = _station_of_challenge(subject, plant, only=rule.station)
        case BrokerAwayRule():
            stations = next((line.stations for line in plant.lines if line.name == subject), ())
            key = stations[0].name if stations else None
        case ChartRule():
            key = _line_of_chart(rule, subject, plant)
        case SensorLimitRule() | AssetWatchRule():
            key = _asset(rule, subject, plant)
        case _:
            raise TypeError(
                f"expected a rule of the plant file, got {type(rule).__name__}: say here whose its alerts are"
            )
    return key


def _station(name: str, plant: Plant, *, only: str | None = None) -> str | None:
    return name if plant.station(name) is not None and only in (None, name) else None


def _station_of_camera(camera: str, plant: Plant) -> str | None:
    station = plant.station_of(camera)
    return station.name if station is not None else None


def _station_of_view(subject: str, plant: Plant, *, only: str | None) -> str | None:
    camera, _, view = subject.partition("/")
    known = plant.cameras.get(camera)
    if known is None or view not in known.views or only not in (None, camera):
        return None
    return _station_of_camera(camera, plant)


def _station_of_challenge(subject: str, plant: Plant, *, only: str | None) -> str | None:
    name, _, challenge = subject.partition("/")
    station = plant.station(name)
    if station is None or only not in (None, name):
        return None
    return name if challenge in {part.name for part in station.challenges.parts} else None


def _asset(rule: SensorLimitRule | AssetWatchRule, subject: str, plant: Plant) -> str | None:
    asset = next((asset for asset in plant.assets if asset.name == rule.asset), None)
    if asset is None:
        return None
    if isinstance(rule, AssetWatchRule):
        return asset.name if subject == asset.name and asset.watch is not None else None
    is_its_own = rule.channel in {channel.name for channel in asset.channels}
    return asset.name if is_its_own and subject == f"{asset.name}/{rule.channel}" else None


def _line_of_chart(rule: ChartRule, subject: str, plant: Plant) -> str | None:
    """Of `station/<name>`, `line/<name>` (`/<by>=<level>` behind it) or `asset/<name>/<channel>`."""
    chart = next((chart for chart in plant.statistics.charts if chart.name == rule.chart), None)
    if chart is None:
        return None
    if isinstance(chart.figure, Measurement):
        asset = next((asset for asset in plant.assets if asset.name == chart.figure.asset), None)
        return asset.line if asset is not None and subject == f"asset/{asset.name}/{chart.figure.channel}" else None
    kind, _, rest = subject.partition("/")
    name, _, level = rest.partition("/")
    if chart.by != (level.partition("=")[0] if level else kind):
        return None
    if kind == "line":
        return next((line.name for line in plant.lines if line.name == name), None)
    return next((line.name for line in plant.lines for station in line.stations if station.name == name), None)
