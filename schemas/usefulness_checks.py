"""What a plant file says without effect: verdicts that come after the gate, rules that can never match, stops that reach nobody."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.alert_rules import DefectRateRule, PlcHeartbeatRule
from schemas.commands import PERSON_SIGNAL
from schemas.plant import Plant
from schemas.plant_limits import LEAST_MS
from schemas.plant_yaml import Finding


def late_deadlines(plant: Plant) -> Iterator[Finding]:
    """Recipes whose verdicts may come when the part has passed the gate of a station that takes pictures for them."""
    for index, recipe in enumerate(plant.recipes):
        views = {view.name for view in recipe.views}
        for station in plant.stations:
            seen = {view for camera in station.cameras for view in camera.views}
            if station.plc is None or recipe.deadline_ms is None or not views & seen:
                continue
            if recipe.deadline_ms > station.gate_after_ms >= LEAST_MS["gate_after_ms"]:
                expected = f"at most {station.gate_after_ms} (`gate_after_ms` of station `{station.name}`), not {recipe.deadline_ms}"
                yield ("recipes", index, "deadline_ms"), f"{expected}: a later verdict finds the part gone", None


def idle_rules(plant: Plant) -> Iterator[Finding]:
    """Alert rules that nothing in this plant can raise, or that are raised by everything."""
    stoppable = any(station.plc is not None for station in plant.stations)
    for index, rule in enumerate(plant.alerts):
        place = ("alerts", index)
        if isinstance(rule, DefectRateRule) and rule.raise_ratio == 0:
            yield (*place, "raise_ratio"), "a number above 0: every part is at or above 0", None
        if isinstance(rule, PlcHeartbeatRule) and not plant.plcs:
            yield place, "a PLC under `plcs`: without one this rule never matches", None
        if rule.approval is not None and rule.action is None:
            yield (*place, "approval"), "the key `action` beside it: without one there is nothing to approve", None
        if rule.action in ("divert", "hold_batch") and not _can_set(plant, rule.action):
            yield (
                (*place, "action"),
                f"a station with a `plc` whose `interlocks` name the parameter `{rule.action}`, with 1 within its limits",
                None,
            )
        if rule.action == "stop_line" and not stoppable:
            yield (*place, "action"), "a station with a `plc`: without one no line can be stopped", None
    yield from _lonely_stops(plant)


def _can_set(plant: Plant, parameter: str) -> bool:
    """Whether some station's interlocks let a parameter of that name become 1."""
    return any(
        station.plc is not None and item.name == parameter and item.low <= 1 <= item.high
        for station in plant.stations
        for item in station.interlocks.parameters
    )


def _lonely_stops(plant: Plant) -> Iterator[Finding]:
    """Line stops that wait for a second signal which no rule ever gives."""
    stops = {
        index: (*rule.signals, *([PERSON_SIGNAL] if rule.approval else []))
        for index, rule in enumerate(plant.alerts)
        if rule.action == "stop_line"
    }
    given = {signal for signals in stops.values() for signal in signals}
    needed = min((station.interlocks.stop_line.signals for station in plant.stations if station.plc), default=0)
    if len(given) >= needed:
        return
    for index in stops:
        yield (
            ("alerts", index, "action"),
            f"another rule that stops the line and sees something else than {', '.join(sorted(given))}: a stop needs "
            f"{needed} independent signals (or `interlocks: {{stop_line: {{signals: 1}}}}` at the station)",
            None,
        )
