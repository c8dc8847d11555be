"""Silence: a camera that gives no inspection while parts arrive, a station where no part arrives while its line runs."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from processors.alert_episodes import Clear, Finding, Raise
from processors.alert_rules import AlertInput
from schemas.alert_rules import SilentCameraRule, SilentStationRule
from schemas.inspections import Inspection
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.plc_events import LineMode, LineStateChanged, PartArrived

REMEMBERED_PARTS = 256


@dataclass(slots=True)
class _Camera:
    name: str
    views: frozenset[str]
    station: str
    line: str
    waits_since_ns: int | None = None
    waits_seen_ns: int = 0
    waits_for: str = ""
    seen_parts: OrderedDict[tuple[str, int], None] = field(default_factory=OrderedDict)

    def inspected(self, part: tuple[str, int]) -> None:
        self.waits_since_ns = None
        self.seen_parts[part] = None
        if len(self.seen_parts) > REMEMBERED_PARTS:
            self.seen_parts.popitem(last=False)


class SilentCamera:
    """A camera gave no inspection for `after_ms` since a part arrived that needs it; cleared by its next inspection.

    Arrivals and inspections come on two topics, so a part's inspection may be seen before its arrival: such a part waits for nothing.
    """

    def __init__(self, rule: SilentCameraRule, *, plant: Plant, stations: frozenset[str]) -> None:
        self._rule = rule
        self._cameras = {
            camera.name: _Camera(camera.name, frozenset(camera.views), station.name, line.name)
            for line in plant.lines
            for station in line.stations
            for camera in station.cameras
            if station.name in stations
        }

    def see(self, message: AlertInput, *, at_ns: int, now_ns: int) -> list[Finding]:
        """An arrival makes cameras wait, an inspection ends it."""
        if isinstance(message, PartArrived):
            self._arrived(message, at_ns, now_ns)
        elif isinstance(message, Inspection) and (camera := self._cameras.get(message.camera)):
            camera.inspected((message.part_id, message.visit))
            told = f"camera {camera.name} gives pictures again"
            return [Clear(rule=self._rule.name, subject=camera.name, at_ns=at_ns, summary=told)]
        return []

    def remember(self, message: AlertInput, *, at_ns: int, now_ns: int) -> None:
        """Which parts had their picture. Waiting begins with the next arrival."""
        if isinstance(message, Inspection) and (camera := self._cameras.get(message.camera)):
            camera.inspected((message.part_id, message.visit))

    def tick(self, now_ns: int) -> list[Finding]:
        """Cameras that have been waited for too long."""
        return [
            Raise(
                rule=self._rule.name,
                subject=camera.name,
                line=camera.line,
                station=camera.station,
                since_ns=camera.waits_since_ns,
                at_ns=now_ns,
                summary=f"camera {camera.name} gave no picture for {self._rule.after_ms / 1000:g} s while parts arrived",
                value=(now_ns - camera.waits_since_ns) / NS_PER_MS,
                threshold=float(self._rule.after_ms),
                evidence=(camera.waits_for,),
            )
            for camera in self._cameras.values()
            if camera.waits_since_ns is not None and now_ns - camera.waits_seen_ns >= self._rule.after_ms * NS_PER_MS
        ]

    def resume(self, subject: str, now_ns: int) -> None:
        """Its next inspection clears it."""

    def _arrived(self, arrival: PartArrived, at_ns: int, now_ns: int) -> None:
        for camera in self._cameras.values():
            needed = not arrival.expected_views or camera.views.intersection(arrival.expected_views)
            if camera.station != arrival.station or not needed or camera.waits_since_ns is not None:
                continue
            if (arrival.part_id, arrival.visit) not in camera.seen_parts:
                camera.waits_since_ns, camera.waits_seen_ns, camera.waits_for = at_ns, now_ns, arrival.id


@dataclass(slots=True)
class _Station:
    name: str
    line: str
    since_ns: int | None = None  # last arrival or start of the line
    seen_ns: int = 0
    running: bool = True  # until the PLC says otherwise: parts arrive on a running line


class SilentStation:
    """No part arrived for `after_ms` while the line was running; cleared by an arrival, or when the line stops.

    Nothing is known before the first arrival or the first word of the PLC that the line runs.
    """

    def __init__(self, rule: SilentStationRule, *, plant: Plant, stations: frozenset[str]) -> None:
        self._rule = rule
        self._stations = {
            station.name: _Station(station.name, line.name)
            for line in plant.lines
            for station in line.stations
            if station.name in stations
        }

    def see(self, message: AlertInput, *, at_ns: int, now_ns: int) -> list[Finding]:
        """Arrivals, and the state of the line."""
        if not isinstance(message, PartArrived | LineStateChanged):
            return []
        station = self._stations.get(message.station)
        if station is None:
            return []
        station.since_ns, station.seen_ns = at_ns, now_ns
        if isinstance(message, PartArrived):
            station.running, told = True, f"parts arrive at {station.name} again"
        else:
            station.running = message.mode is LineMode.RUNNING
            told = f"the line is {message.mode.value}"
            if station.running:
                return []
        return [Clear(rule=self._rule.name, subject=station.name, at_ns=at_ns, summary=told)]

    def remember(self, message: AlertInput, *, at_ns: int, now_ns: int) -> None:
        """When the last part came, and whether the line runs."""
        self.see(message, at_ns=at_ns, now_ns=now_ns)

    def tick(self, now_ns: int) -> list[Finding]:
        """Stations where nothing arrived for too long."""
        return [
            Raise(
                rule=self._rule.name,
                subject=station.name,
                line=station.line,
                station=station.name,
                since_ns=station.since_ns + 1,  # after the last arrival, which is not its end when it is read again
                at_ns=now_ns,
                summary=f"no part arrived at {station.name} for {self._rule.after_ms / 1000:g} s while the line was running",
                value=(now_ns - station.since_ns) / NS_PER_MS,
                threshold=float(self._rule.after_ms),
            )
            for station in self._stations.values()
            if station.running
            and station.since_ns is not None
            and now_ns - station.seen_ns >= self._rule.after_ms * NS_PER_MS
        ]

    def resume(self, subject: str, now_ns: int) -> None:
        """The next arrival clears it."""
