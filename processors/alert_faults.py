"""Faults that are reported: gaps in a camera's sequence (by the inspect stage), a PLC that is away or lacks a node (by its gateway)."""

from __future__ import annotations

from processors.alert_episodes import Clear, Finding, Raise
from processors.alert_rules import AlertInput
from processors.inspection import SEQUENCE_GAP
from schemas.alert_rules import MissingFramesRule, PlcHeartbeatRule
from schemas.inspections import Inspection
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.plc_events import PlcFault

HEARTBEAT_FAULTS = frozenset({"heartbeat_lost", "plc_away", "node_fault", "second_writer"})


class MissingFrames:
    """A gap in a camera's sequence; cleared when there was none for `clear_after_ms`."""

    def __init__(self, rule: MissingFramesRule, *, plant: Plant, stations: frozenset[str]) -> None:
        self._rule = rule
        self._places = {
            camera.name: (line.name, station.name)
            for line in plant.lines
            for station in line.stations
            for camera in station.cameras
            if station.name in stations
        }
        self._last_gap_seen_ns: dict[str, int] = {}

    def see(self, message: AlertInput, *, at_ns: int, now_ns: int) -> list[Finding]:
        """An inspection that says that frames before it are missing."""
        if (
            not isinstance(message, Inspection)
            or SEQUENCE_GAP not in message.warnings
            or message.camera not in self._places
        ):
            return []
        self._last_gap_seen_ns[message.camera] = now_ns
        line, station = self._places[message.camera]
        return [
            Raise(
                rule=self._rule.name,
                subject=message.camera,
                line=line,
                station=station,
                since_ns=at_ns,
                at_ns=at_ns,
                summary=f"frames of camera {message.camera} are missing before number {message.sequence}",
                evidence=(message.id,),
            )
        ]

    def remember(self, message: AlertInput, *, at_ns: int, now_ns: int) -> None:
        """Gaps from before are alerts already, or over."""

    def tick(self, now_ns: int) -> list[Finding]:
        """Cameras without a gap for long enough."""
        whole = [
            camera
            for camera, seen_ns in self._last_gap_seen_ns.items()
            if now_ns - seen_ns >= self._rule.clear_after_ms * NS_PER_MS
        ]
        for camera in whole:
            del self._last_gap_seen_ns[camera]
        told = f"no frame missing for {self._rule.clear_after_ms / 1000:g} s"
        return [Clear(rule=self._rule.name, subject=camera, at_ns=now_ns, summary=told) for camera in whole]

    def resume(self, subject: str, now_ns: int) -> None:
        """The time without a gap begins anew."""
        self._last_gap_seen_ns.setdefault(subject, now_ns)


class PlcHeartbeat:
    """The PLC of a station is away or its heartbeat stands still, a node does not serve, or a second gateway writes there.

    Cleared when none is so.
    """

    def __init__(self, rule: PlcHeartbeatRule, *, plant: Plant, stations: frozenset[str]) -> None:
        self._rule = rule
        self._lines = {s.name: line.name for line in plant.lines for s in line.stations if s.name in stations}
        self._faults: dict[str, set[str]] = {}

    def see(self, message: AlertInput, *, at_ns: int, now_ns: int) -> list[Finding]:
        """A fault, or its end."""
        if not isinstance(message, PlcFault) or message.code not in HEARTBEAT_FAULTS:
            return []
        if message.station not in self._lines:
            return []
        faults = self._faults.setdefault(message.station, set())
        if not message.cleared:
            faults.add(message.code)
            return [
                Raise(
                    rule=self._rule.name,
                    subject=message.station,
                    line=self._lines[message.station],
                    station=message.station,
                    since_ns=at_ns,
                    at_ns=at_ns,
                    summary=f"PLC of {message.station}: {message.detail or message.code}",
                    evidence=(message.id,),
                )
            ]
        faults.discard(message.code)
        if faults:
            return []
        told = f"PLC of {message.station} answers again"
        return [Clear(rule=self._rule.name, subject=message.station, at_ns=at_ns, summary=told)]

    def remember(self, message: AlertInput, *, at_ns: int, now_ns: int) -> None:
        """Which faults are there."""
        self.see(message, at_ns=at_ns, now_ns=now_ns)

    def tick(self, now_ns: int) -> list[Finding]:
        """The gateway watches the time."""
        return []

    def resume(self, subject: str, now_ns: int) -> None:
        """The end of the fault clears it."""
