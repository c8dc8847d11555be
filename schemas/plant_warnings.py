"""What a plant file says that is allowed and does nothing: rules that never match, receivers that are never told."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.alert_rules import (
    AlertRule,
    DefectRateRule,
    ImageHealthRule,
    MissingFramesRule,
    SilentCameraRule,
    SilentStationRule,
    WrongLaneRule,
)
from schemas.plant import Plant, Station
from schemas.plant_yaml import Finding
from schemas.receivers import SEVERITIES, AnyReceiver


def plant_warnings(plant: Plant) -> Iterator[Finding]:
    """Rules that nothing in this plant can raise, receivers that no rule reaches, rules that reach nobody."""
    for index, rule in enumerate(plant.alerts):
        why = _never_matches(rule, plant)
        if why:
            yield ("alerts", index), f"{why}: this rule never matches anything", None
        reaches_nobody = plant.receivers and not plant.webhooks
        if reaches_nobody and not any(_hears(receiver, rule) for receiver in plant.receivers):
            yield ("alerts", index), f"a receiver for it: `{rule.name}` ({rule.severity}) reaches none", None
    for index, receiver in enumerate(plant.receivers):
        if plant.alerts and not any(_hears(receiver, rule) for rule in plant.alerts):
            expected = (
                f"a rule from {receiver.minimum_severity} on among its rules: nothing is ever told to `{receiver.name}`"
            )
            yield ("receivers", index), expected, None


def _hears(receiver: AnyReceiver, rule: AlertRule) -> bool:
    severe = SEVERITIES.index(rule.severity) >= SEVERITIES.index(receiver.minimum_severity)
    return severe and (not receiver.rules or rule.name in receiver.rules)


def _never_matches(rule: AlertRule, plant: Plant) -> str | None:
    """What is missing for the rule to be raised; None where nothing is."""
    match rule:
        case SilentCameraRule() | MissingFramesRule() if not plant.cameras:
            return "a camera"
        case SilentCameraRule() | SilentStationRule() if not _with_plc(plant):
            return "a station with a `plc`, which tells of arrivals"
        case WrongLaneRule() if not any(not _observed(plant, station) for station in _with_plc(plant)):
            return "a station with a `plc` that is not only observed"
        case ImageHealthRule():
            return _no_picture(rule, plant)
        case DefectRateRule():
            return _no_rate(rule, plant)
    return None


def _no_picture(rule: ImageHealthRule, plant: Plant) -> str | None:
    named = {view.name for recipe in plant.recipes for view in recipe.views}
    cameras = [camera for camera in plant.cameras.values() if rule.camera in (None, camera.name)]
    if plant.recipes and not any(named.intersection(camera.views) for camera in cameras):
        return "a recipe with a view of the camera"
    if rule.figure != "shift_px" and rule.high is None and rule.low is not None and rule.low <= 0:
        return f"a `low` above 0, which {rule.figure} is never below"
    return None


def _no_rate(rule: DefectRateRule, plant: Plant) -> str | None:
    stations = [station for station in plant.stations if rule.station in (None, station.name)]
    named = {view.name for recipe in plant.recipes for view in recipe.views}
    seen = [station for station in stations if named & {view for camera in station.cameras for view in camera.views}]
    if plant.recipes and not seen:
        return "a recipe with a view of the station"
    cycles_ms = [station.ideal_cycle_ms for station in seen]
    fits = [rule.window_ms / cycle_ms >= rule.minimum_parts for cycle_ms in cycles_ms if cycle_ms]
    if fits and len(fits) == len(cycles_ms) and not any(fits):
        return f"a `window_ms` in which `minimum_parts` ({rule.minimum_parts}) fit at the station's `ideal_cycle_ms`"
    return None


def _with_plc(plant: Plant) -> list[Station]:
    return [station for station in plant.stations if station.plc is not None]


def _observed(plant: Plant, station: Station) -> bool:
    plc = plant.plc(station.plc or "")
    return plc is not None and plc.observe
