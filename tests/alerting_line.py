"""A line of one station under given rules, and the messages that its rules look at."""

from __future__ import annotations

from typing import Any

from processors.alert_actions import AlertStep
from processors.alert_subjects import every_key
from processors.alerting import Alerting
from schemas.alert_rules import AlertRule, DefectRateRule, SilentCameraRule, SilentStationRule
from schemas.alerts import AlertState
from schemas.inspections import Inspection
from schemas.plant import Camera, ExternalSource, Line, Plant, Plc, Station
from schemas.plc_events import LineMode, LineStateChanged, PartArrived, PlcFault
from schemas.reasons import FailSafe, FrameOutcome, VerdictValue
from schemas.verdicts import Verdict, verdict_id

S = 1_000_000_000
OK, NOT_OK, OPEN = VerdictValue.OK, VerdictValue.NOT_OK, VerdictValue.NOT_DECIDABLE

RATE = DefectRateRule(
    name="rate", raise_ratio=0.3, clear_ratio=0.1, window_ms=20_000, minimum_parts=10, action="stop_line"
)
CAMERA = SilentCameraRule(name="camera", after_ms=5_000)
STATION = SilentStationRule(name="station", after_ms=20_000)


def plant(*rules: AlertRule, plc: str | None = "plc-1") -> Plant:
    cameras = (
        Camera(name="left", views=("left",), source=ExternalSource()),
        Camera(name="right", views=("right",), source=ExternalSource()),
    )
    return Plant(
        plant="test",
        lines=(Line(name="line-1", stations=(Station(name="aoi", cameras=cameras, plc=plc),)),),
        recipes=(),
        plcs=(Plc(name="plc-1", endpoint="opc.tcp://127.0.0.1:4840/", security="none"),),
        alerts=rules,  # type: ignore[arg-type]  # every rule class is in the union
    )


def alerting(*rules: AlertRule, plc: str | None = "plc-1") -> Alerting:
    return Alerting(plant=plant(*rules, plc=plc), owns=every_key)


def verdict(number: int, value: VerdictValue, *, at_s: float | None = None, revision: int = 1) -> Verdict:
    at_ns = int((number if at_s is None else at_s) * S)
    return Verdict(
        id=verdict_id(station="aoi", part_id=str(number), visit=1, revision=revision),
        station="aoi",
        line="line-1",
        part_id=str(number),
        visit=1,
        revision=revision,
        verdict=value,
        action=FailSafe.REJECT,
        arrived_at_ns=at_ns,
        decided_at_ns=at_ns + S // 10,
        recipe="board@1",
    )


def inspection(number: int, *, camera: str = "left", part: str | None = None, gap: bool = False) -> Inspection:
    return Inspection(
        id=f"{camera}/s/{number}",
        station="aoi",
        camera=camera,
        view=camera,
        session="s",
        sequence=number,
        part_id=part or str(number),
        visit=1,
        outcome=FrameOutcome.INSPECTED,
        warnings=("sequence_gap",) if gap else (),
    )


def arrival(number: int, *, views: tuple[str, ...] = ("left", "right")) -> PartArrived:
    return PartArrived(
        id=f"aoi/{number}/1/arrived",
        station="aoi",
        part_id=str(number),
        visit=1,
        recipe="board@1",
        expected_views=views,
        trigger_count=number,
        occurred_at_ns=number * S,
    )


def mode(value: LineMode) -> LineStateChanged:
    return LineStateChanged(id="m", station="aoi", mode=value, cause="", occurred_at_ns=0)


def fault(code: str, *, cleared: bool = False) -> PlcFault:
    return PlcFault(id=f"f-{code}-{cleared}", station="aoi", code=code, detail="", occurred_at_ns=0, cleared=cleared)


def told(steps: list[AlertStep]) -> list[tuple[str, str, AlertState]]:
    return [(step.alert.rule, step.alert.subject, step.alert.state) for step in steps]


def take(system: Alerting, message: Any, *, at_s: float) -> list[AlertStep]:
    return system.take(message, at_ns=int(at_s * S), now_ns=int(at_s * S))
