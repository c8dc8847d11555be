"""Which alert is the root of another: a PLC that is away explains that no part arrives, a dead camera that its frames are missing.

    broker_away     on its line, what was raised since the broker went: silent_station, silent_camera, missing_frames
    plc_heartbeat   at every station of the same PLC: silent_station, silent_camera, missing_frames, plc_heartbeat of the others
    silent_camera   of that camera: missing_frames, image_health
    silent_station  of the stations behind it on its line: silent_station

Defect rates, wrong lanes and sensor limits are never explained away: they are about the product and the machine.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.alert_rules import (
    AlertRule,
    BrokerAwayRule,
    ImageHealthRule,
    MissingFramesRule,
    PlcHeartbeatRule,
    SilentCameraRule,
    SilentStationRule,
)
from schemas.alerts import Alert
from schemas.plant import Plant

BLINDED = (SilentStationRule, SilentCameraRule, MissingFramesRule)
"""What a line says of itself by what does not come: nothing comes without its PLC, nor without the broker."""
ROOTS = BrokerAwayRule | PlcHeartbeatRule | SilentCameraRule | SilentStationRule


class AlertRoots:
    """The plant's places, as far as one explains another."""

    def __init__(self, *, plant: Plant) -> None:
        self._rules: dict[str, AlertRule] = {rule.name: rule for rule in plant.alerts}
        self._plcs = {station.name: station.plc for station in plant.stations if station.plc is not None}
        self._places = {
            station.name: (line.name, index) for line in plant.lines for index, station in enumerate(line.stations)
        }

    def root_of(self, alert: Alert, open_alerts: Iterable[Alert]) -> Alert | None:
        """The open alert that explains `alert`; None where there is none, or where the plant file does not know its rule."""
        rule = self._rules.get(alert.rule)
        if rule is None:
            return None
        return next((other for other in open_alerts if self._explains(other, alert, rule)), None)

    def can_be_root(self, alert: Alert) -> bool:
        """Whether an alert can explain others at all."""
        return isinstance(self._rules.get(alert.rule), ROOTS)

    def _explains(self, root: Alert, alert: Alert, rule: AlertRule) -> bool:
        match self._rules.get(root.rule):
            case BrokerAwayRule():
                return isinstance(rule, BLINDED) and alert.line == root.line and alert.at_ns >= root.since_at_ns
            case PlcHeartbeatRule():
                return self._plc_explains(root, alert, rule)
            case SilentCameraRule():
                if isinstance(rule, MissingFramesRule):
                    return alert.subject == root.subject
                return isinstance(rule, ImageHealthRule) and alert.subject.startswith(f"{root.subject}/")
            case SilentStationRule():
                return isinstance(rule, SilentStationRule) and self._is_behind(alert.subject, root.subject)
        return False

    def _plc_explains(self, root: Alert, alert: Alert, rule: AlertRule) -> bool:
        plc = self._plcs.get(root.subject)
        if plc is None or plc != self._plcs.get(alert.station):
            return False
        if isinstance(rule, PlcHeartbeatRule):  # one of a PLC's stations is told, the first
            return (root.since_at_ns, root.subject) < (alert.since_at_ns, alert.subject)
        return isinstance(rule, BLINDED)

    def _is_behind(self, station: str, other: str) -> bool:
        mine, its = self._places.get(station), self._places.get(other)
        return mine is not None and its is not None and mine[0] == its[0] and mine[1] > its[1]
