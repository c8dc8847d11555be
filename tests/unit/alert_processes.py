"""The processes that raise alerts, as a law drives them: each rule with seconds in which it holds and in which it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
from alerting_line import NOT_OK, OK, S, arrival, fault, inspection, verdict
from alerting_line import plant as line_plant

from processors.alert_actions import AlertStep
from processors.alert_rules import BrokerOutage
from processors.alert_subjects import Owns, every_key
from processors.alerting import Alerting
from processors.asset_watches import AssetWatches
from processors.sensor_limits import SensorLimits
from schemas.alert_rules import (
    AssetWatchRule,
    BrokerAwayRule,
    ChallengeRule,
    ChartRule,
    DefectRateRule,
    ImageHealthRule,
    MissingFramesRule,
    PlcHeartbeatRule,
    Rule,
    SensorLimitRule,
    SilentCameraRule,
    SilentStationRule,
    WrongLaneRule,
)
from schemas.alerts import Alert
from schemas.challenges import ChallengePart, Challenges
from schemas.chart_settings import Chart, NotOk
from schemas.charts import ChartPoint
from schemas.inspections import Defect, Imaging
from schemas.notifications import AlertResponse
from schemas.plant import Asset, Channel, Plant, Watch
from schemas.plc_events import PartLeft, RejectConfirmed
from schemas.sensors import AssetBaseline, SensorReading
from schemas.statistics_settings import StatisticsSettings
from schemas.verdicts import ViewResult

FIRST_S = 1_000
LONG_S = 50
"""Long enough for every rule below to be raised, and to be cleared."""
RULES: tuple[Rule, ...] = (
    DefectRateRule(name="rate", raise_ratio=0.3, clear_ratio=0.1, window_ms=20_000, minimum_parts=10),
    SilentCameraRule(name="camera", after_ms=5_000),
    SilentStationRule(name="station", after_ms=5_000),
    MissingFramesRule(name="gap", clear_after_ms=5_000),
    PlcHeartbeatRule(name="plc"),
    BrokerAwayRule(name="broker", after_ms=10_000, clear_after_ms=5_000),
    ImageHealthRule(name="dirty", figure="sharpness_ratio", low=0.7, frames=5, camera="left"),
    WrongLaneRule(name="lane", clear_after_ms=5_000),
    ChallengeRule(name="proof"),
    ChartRule(name="control", chart="share", clear_after_points=5),
    SensorLimitRule(name="hot", asset="press", channel="heat", high=70.0, clear_after_ms=5_000),
    AssetWatchRule(name="odd", asset="pump"),
)
CHANNELS = (Channel(name="flow", unit="l/s", sample_ms=1_000), Channel(name="heat", unit="Cel", sample_ms=1_000))


def plant_with(*rules: Rule, watch: Watch | None = None) -> Plant:
    watch = watch or Watch(every_ms=1_000, learn_rows=200)
    made = line_plant(*rules)
    (line,) = made.lines
    (station,) = line.stations
    proven = msgspec.structs.replace(station, challenges=Challenges(parts=(ChallengePart(name="open"),)))
    return msgspec.structs.replace(
        made,
        lines=(msgspec.structs.replace(line, stations=(proven,)),),
        assets=(
            Asset(name="press", line="line-1", channels=CHANNELS[1:]),
            Asset(name="pump", line="line-1", channels=CHANNELS, watch=watch),
        ),
        statistics=StatisticsSettings(charts=(Chart(name="share", figure=NotOk(), chart="p", window_ms=60_000),)),
    )


# --- what a second brings, where the rule holds (`bad`) and where it does not ------------------------------------------


def point(at_s: int, *, bad: bool, revision: int = 1) -> ChartPoint:
    return ChartPoint(
        id=f"share/station/aoi/{at_s}/{revision}", chart="share", kind="p", subject="station/aoi", line="line-1",
        start_at_ns=(at_s - 1) * S, end_at_ns=at_s * S, revision=revision, phase=2, value=0.5 if bad else 0.1,
        centre=0.1, lower=0.0, upper=0.2, outside=bad,
    )  # fmt: skip


def reading(asset: str, channel: str, at_s: int, value: float) -> SensorReading:
    return SensorReading(
        id=f"{asset}/{channel}/{at_s}", asset=asset, channel=channel, session="s", sequence=at_s,
        measured_at_ns=at_s * S, unit="Cel" if channel == "heat" else "l/s", value=value,
    )  # fmt: skip


def pictured(at_s: int, ratio: float) -> Any:
    imaging = Imaging(sharpness_ratio=ratio, level_ratio=1.0, saturated_ratio=0.0, black_ratio=0.0, shift_px=0.0)
    return msgspec.structs.replace(inspection(at_s), imaging=imaging)


def left(at_s: int) -> PartLeft:
    return PartLeft(
        id=f"aoi/{at_s}/left", station="aoi", part_id=str(at_s), visit=1, lane="good", by_fail_safe=False, occurred_at_ns=0
    )  # fmt: skip


def challenged(at_s: int, *, bad: bool) -> list[Any]:
    view = ViewResult(view="left", defects=(Defect(class_name="open", score=0.9, box=(0, 0, 8, 8), area_px=64.0),))
    said = msgspec.structs.replace(verdict(at_s, OK if bad else NOT_OK), challenge="open", views=() if bad else (view,))
    confirmed = RejectConfirmed(id=f"aoi/{at_s}/rejected", station="aoi", part_id=str(at_s), visit=1, occurred_at_ns=0)
    return [said] if bad else [confirmed, said]


Second = Callable[[int, bool], list[Any]]
SECONDS: dict[str, Second] = {
    "rate": lambda at_s, bad: [verdict(at_s, NOT_OK if bad else OK)],
    "camera": lambda at_s, bad: [arrival(at_s, views=("left",)), *([] if bad else [inspection(at_s)])],
    "station": lambda at_s, bad: [] if bad else [arrival(at_s)],
    "gap": lambda at_s, bad: [inspection(at_s, gap=bad)],
    "plc": lambda at_s, bad: [fault("plc_away", cleared=not bad)],
    "broker": lambda at_s, bad: [BrokerOutage(lost_at_ns=(at_s - 15) * S, back_at_ns=at_s * S)] if bad else [],
    "dirty": lambda at_s, bad: [pictured(at_s, 0.2 if bad else 1.0)],
    "lane": lambda at_s, bad: [verdict(at_s, NOT_OK), left(at_s)] if bad else [],
    "proof": lambda at_s, bad: challenged(at_s, bad=bad),
    "control": lambda at_s, bad: [point(at_s, bad=bad)],
    "hot": lambda at_s, bad: [reading("press", "heat", at_s, 80.0 if bad else 20.0)],
    "odd": lambda at_s, bad: [
        reading("pump", "flow", at_s, 50.0),
        reading("pump", "heat", at_s, 60.0 if bad else 40.0),
    ],
}


# --- one process ------------------------------------------------------------------------------------------------------


class System(Protocol):
    """What the stages drive."""

    def recall_alert(self, alert: Alert, now_ns: int) -> None: ...
    def recall(self, message: Any, at_ns: int, now_ns: int) -> None: ...
    def take(self, message: Any, at_ns: int, now_ns: int) -> list[AlertStep]: ...
    def close(self, response: AlertResponse, now_ns: int) -> list[AlertStep]: ...
    def tick(self, now_ns: int) -> list[AlertStep]: ...


@dataclass
class Lines:
    """The alerts stage."""

    alerting: Alerting

    def recall_alert(self, alert: Alert, now_ns: int) -> None:
        self.alerting.recall_alert(alert, now_ns=now_ns)

    def recall(self, message: Any, at_ns: int, now_ns: int) -> None:
        self.alerting.recall(message, at_ns=at_ns, now_ns=now_ns)

    def take(self, message: Any, at_ns: int, now_ns: int) -> list[AlertStep]:
        return self.alerting.take(message, at_ns=at_ns, now_ns=now_ns)

    def close(self, response: AlertResponse, now_ns: int) -> list[AlertStep]:
        return self.alerting.close(response, now_ns=now_ns)

    def tick(self, now_ns: int) -> list[AlertStep]:
        return self.alerting.tick(now_ns)


@dataclass
class Sensors:
    """The sensors stage."""

    limits: SensorLimits
    watches: AssetWatches

    def recall_alert(self, alert: Alert, now_ns: int) -> None:
        self.limits.recall_alert(alert)
        self.watches.recall_alert(alert)

    def recall(self, message: Any, at_ns: int, now_ns: int) -> None:
        if self.limits.recall(message, at_ns=at_ns):
            self.watches.recall(message)

    def take(self, message: Any, at_ns: int, now_ns: int) -> list[AlertStep]:
        steps = self.limits.take(message, at_ns=at_ns)
        return [] if steps is None else [*steps, *self.watches.take(message, at_ns=at_ns).steps]

    def close(self, response: AlertResponse, now_ns: int) -> list[AlertStep]:
        return [*self.limits.close(response, now_ns=now_ns), *self.watches.close(response, now_ns=now_ns)]

    def tick(self, now_ns: int) -> list[AlertStep]:
        return [*self.limits.tick(now_ns), *self.watches.tick(now_ns)]


def learned(plant: Plant) -> AssetBaseline:
    """Normal operation of the pump, from seconds before the law's."""
    rng, watches = np.random.default_rng(1), AssetWatches(plant=plant)
    for at_s in range(200):
        for channel, value in (("flow", rng.normal(50, 1)), ("heat", rng.normal(40, 2))):
            found = watches.take(reading("pump", channel, at_s, float(value)), at_ns=at_s * S).learned
    assert found is not None
    return found


BASELINE = learned(plant_with(*RULES))


def started(rule: Rule, *, owns: Owns = every_key) -> System:
    plant = plant_with(rule)
    if not isinstance(rule, SensorLimitRule | AssetWatchRule):
        return Lines(Alerting(plant=plant, owns=owns))
    watches = AssetWatches(plant=plant, owns=owns)
    watches.recall_baseline(BASELINE)
    return Sensors(SensorLimits(plant=plant, owns=owns), watches)


class Topic:
    """What is on `alerts`: a process writes there, and so does the next."""

    def __init__(self, rule: Rule, start: Callable[..., System] = started) -> None:
        self.rule, self.alerts, self._start = rule, list[Alert](), start
        self.system = start(rule)
        self.seconds: list[list[Any]] = []

    @property
    def now_s(self) -> int:
        return FIRST_S + len(self.seconds)

    def pass_second(self, *, bad: bool) -> list[Alert]:
        self.seconds.append(SECONDS[self.rule.name](self.now_s + 1, bad))
        return self._read(self.now_s) + self._said(self.system.tick(self.now_s * S))

    def restart(self, *, uncommitted: int, remembered_s: int = 150) -> None:
        """Another process: what is on the topics is recalled, of the messages those of the last time; what was not committed is
        read again."""
        self.system = self._start(self.rule)
        for alert in self.alerts:
            self.system.recall_alert(alert, self.now_s * S)
        first = max(FIRST_S, self.now_s - uncommitted) + 1
        for at_s in range(max(FIRST_S + 1, first - remembered_s), first):
            for message in self.seconds[at_s - FIRST_S - 1]:
                self.system.recall(message, at_s * S, self.now_s * S)
        for at_s in range(first, self.now_s + 1):
            if self.rule.name != "broker":  # its outages are no records
                self._read(at_s)
        self._said(self.system.tick(self.now_s * S))

    def _read(self, at_s: int) -> list[Alert]:
        messages = self.seconds[at_s - FIRST_S - 1]
        return [a for each in messages for a in self._said(self.system.take(each, at_s * S, self.now_s * S))]

    def _said(self, steps: list[AlertStep]) -> list[Alert]:
        said = [step.alert for step in steps]
        self.alerts += said
        return said
