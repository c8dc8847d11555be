"""A plant with receivers, and steps of alerts, for the tests of who is told."""

from __future__ import annotations

from typing import Any

from schemas.alert_rules import (
    AlertRule,
    BrokerAwayRule,
    DefectRateRule,
    ImageHealthRule,
    MissingFramesRule,
    PlcHeartbeatRule,
    SilentCameraRule,
    SilentStationRule,
)
from schemas.alerts import Alert, AlertState
from schemas.notifications import NotificationKind
from schemas.plant import Camera, ExternalSource, Line, Plant, Plc, Station
from schemas.receivers import AlertmanagerReceiver, AnyReceiver

S = 1_000_000_000
MINUTE, HOUR = 60 * S, 3_600 * S
RAISED, REPEATED, CLEARED = AlertState.RAISED, AlertState.REPEATED, AlertState.CLEARED
ALERT, DIGEST, WITHHELD = NotificationKind.ALERT, NotificationKind.DIGEST, NotificationKind.WITHHELD

RULES: tuple[AlertRule, ...] = (
    DefectRateRule(name="rate", raise_ratio=0.2, clear_ratio=0.1),
    PlcHeartbeatRule(name="heartbeat", severity="critical"),
    BrokerAwayRule(name="broker"),
    SilentCameraRule(name="camera"),
    SilentStationRule(name="station"),
    MissingFramesRule(name="frames"),
    ImageHealthRule(name="lens", figure="sharpness_ratio", low=0.5),
)


def receiver(name: str = "shift", **settings: Any) -> AlertmanagerReceiver:
    return AlertmanagerReceiver(name=name, url="http://192.0.2.1:9093", **settings)


def plant(*receivers: AnyReceiver) -> Plant:
    def station(name: str, plc: str | None) -> Station:
        camera = Camera(name=f"{name}-top", views=(f"{name}-top",), source=ExternalSource())
        return Station(name=name, cameras=(camera,), plc=plc)

    places = (station("aoi-1", "plc-1"), station("aoi-2", "plc-1"), station("end", "plc-2"))
    return Plant(
        plant="test",
        lines=(Line(name="line-1", stations=places),),
        recipes=(),
        plcs=tuple(Plc(name=name, endpoint="opc.tcp://127.0.0.1:4840", security="none") for name in ("plc-1", "plc-2")),
        alerts=RULES,  # type: ignore[arg-type]  # every rule class is in the union
        receivers=receivers,
    )


def alert(
    rule: str = "rate",
    subject: str = "aoi-1",
    state: AlertState = RAISED,
    *,
    at: float,
    since: float | None = None,
    severity: str = "warning",
    station: str = "aoi-1",
    repeat: int = 0,
) -> Alert:
    since_ns = int(at if since is None else since)
    episode = f"{rule}/{subject}/{since_ns}"
    return Alert(
        id=f"{episode}/{state.value}/{repeat}",
        line="line-1",
        rule=rule,
        subject=subject,
        severity=severity,
        state=state,
        episode=episode,
        since_at_ns=since_ns,
        at_ns=int(at),
        summary="",
        station=station,
        repeat=repeat,
    )
