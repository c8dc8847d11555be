"""Sensor limits: range and rate of change of each channel, one alert per episode.

A reading is judged by its own value, a waveform by each of its samples. The rate of change is that between two readings of one
session, by the sensor's clock, and between the samples of a waveform. Event time is the record's (the broker's clock).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from processors.alert_actions import AlertStep, can_act, with_action
from processors.alert_episodes import Clear, Episodes, Finding, Raise
from processors.alert_subjects import Owns, every_key
from schemas.alert_rules import SensorLimitRule
from schemas.alerts import Alert
from schemas.errors import Refused
from schemas.message import NS_PER_MS, NS_PER_S
from schemas.notifications import AlertResponse
from schemas.plant import Channel, Plant, Station
from schemas.reasons import RefusalReason
from schemas.sensors import SensorReading


@dataclass(frozen=True, slots=True)
class _Samples:
    """One reading as numbers: float64 [N], N >= 1, of which sample i was taken at `first_at_ns + i * step_ns`."""

    values: npt.NDArray[np.float64]
    first_at_ns: int
    step_ns: float

    @property
    def last_at_ns(self) -> int:
        return self.first_at_ns + round(self.step_ns * (len(self.values) - 1))


@dataclass(slots=True)
class _Channel:
    """What is known of a channel of an asset."""

    session: str = ""
    sequence: int = -1
    last_value: float | None = None
    last_at_ns: int = 0


@dataclass(frozen=True, slots=True)
class _Violation:
    text: str
    value: float | None
    threshold: float | None


class SensorLimits:
    """The sensor_limit rules over the assets that are ours. First recall what is on the topics, then `take`, `close` and `tick`."""

    def __init__(self, *, plant: Plant, owns: Owns = every_key) -> None:
        self._plant = plant
        self._channels = {(asset.name, c.name): (asset.line, c) for asset in plant.assets for c in asset.channels}
        self._rules = [rule for rule in plant.alerts if isinstance(rule, SensorLimitRule)]
        self._episodes = Episodes(self._rules, plant=plant, owns=owns)
        self._known: dict[tuple[str, str], _Channel] = {}
        self._within_since_ns: dict[str, int] = {}

    @property
    def open_alerts(self) -> dict[str, int]:
        """How many alerts are open, by rule."""
        return {rule.name: len(self._episodes.open_subjects(rule.name)) for rule in self._rules}

    def recall_alert(self, alert: Alert) -> None:
        """An alert that went out before we began."""
        self._episodes.recall(alert)

    def recall(self, reading: SensorReading, *, at_ns: int) -> bool:
        """A reading that was judged before we began: remembered, not judged again. Whether it was taken, and for the first time."""
        try:
            return self._findings(reading, at_ns) is not None
        except Refused:
            return False  # it was refused then

    def take(self, reading: SensorReading, *, at_ns: int) -> list[AlertStep] | None:
        """A reading whose record has the broker's time `at_ns`. None for a duplicate.

        Raises `Refused` for an asset or channel that is not in the plant file, another unit, or no number.
        """
        findings = self._findings(reading, at_ns)
        if findings is None:
            return None
        station = self._station_of(reading.asset)
        rules = {rule.name: rule for rule in self._rules}
        return [
            with_action(alert, rules[alert.rule])
            for finding in findings
            for alert in self._episodes.apply([finding], action=can_act(rules[finding.rule], station))
        ]

    def close(self, response: AlertResponse, *, now_ns: int) -> list[AlertStep]:
        """A person says that an alert is over."""
        return [AlertStep(alert=alert) for alert in self._episodes.close(response, now_ns=now_ns)]

    def tick(self, now_ns: int) -> list[AlertStep]:
        """Time has passed: repetitions."""
        return [AlertStep(alert=alert) for alert in self._episodes.tick(now_ns)]

    def _findings(self, reading: SensorReading, at_ns: int) -> list[Finding] | None:
        place = (reading.asset, reading.channel)
        if place not in self._channels:
            raise Refused(
                RefusalReason.UNKNOWN_ASSET, f"{reading.asset}/{reading.channel} is no channel of the plant file"
            )
        line, channel = self._channels[place]
        samples = _samples(reading, channel)
        known = self._known.setdefault(place, _Channel())
        if reading.session == known.session and reading.sequence <= known.sequence:
            return None
        steepest = _steepest(samples, known if reading.session == known.session else None)
        findings = [
            finding
            for rule in self._rules
            if (rule.asset, rule.channel) == place
            for finding in self._turn(
                rule, reading, line, _violation(rule, samples.values, steepest, reading.unit), at_ns
            )
        ]
        known.session, known.sequence = reading.session, reading.sequence
        known.last_value, known.last_at_ns = float(samples.values[-1]), samples.last_at_ns
        return findings

    def _turn(
        self, rule: SensorLimitRule, reading: SensorReading, line: str, violation: _Violation | None, at_ns: int
    ) -> list[Finding]:
        subject = f"{rule.asset}/{rule.channel}"
        if violation is not None:
            self._within_since_ns.pop(rule.name, None)
            station = self._station_of(rule.asset)
            return [
                Raise(
                    rule=rule.name,
                    subject=subject,
                    line=line,
                    station=station.name if station else None,
                    since_ns=at_ns,
                    at_ns=at_ns,
                    summary=f"{subject} {violation.text}",
                    value=violation.value,
                    threshold=violation.threshold,
                    evidence=(reading.id,),
                )
            ]
        since_ns = self._within_since_ns.setdefault(rule.name, at_ns)
        if at_ns - since_ns < rule.clear_after_ms * NS_PER_MS:
            return []
        told = f"{subject} within its limits for {rule.clear_after_ms / 1000:g} s"
        return [Clear(rule=rule.name, subject=subject, at_ns=at_ns, summary=told)]

    def _station_of(self, asset: str) -> Station | None:
        """Where a line stop for an asset acts: the first station of its line that has a PLC."""
        line_name = next(item.line for item in self._plant.assets if item.name == asset)
        line = next(item for item in self._plant.lines if item.name == line_name)
        return next((station for station in line.stations if station.plc is not None), None)


def _samples(reading: SensorReading, channel: Channel) -> _Samples:
    subject = f"{reading.asset}/{reading.channel}"
    if reading.unit != channel.unit:
        raise Refused(RefusalReason.WRONG_TYPE, f"{subject} is in {reading.unit}, expected {channel.unit}")
    if (reading.value is None) == (reading.waveform is None):
        raise Refused(RefusalReason.MISSING_FIELD, f"{subject}: expected either `value` or `waveform`")
    if reading.value is not None:
        return _Samples(np.array([reading.value]), reading.measured_at_ns, 0.0)
    block = reading.waveform or b""
    if not block or len(block) % 4 or not reading.sample_rate_hz or reading.sample_rate_hz <= 0:
        raise Refused(
            RefusalReason.SIZE_MISMATCH,
            f"{subject}: expected float32 samples and a positive sample rate, got {len(block)} bytes at {reading.sample_rate_hz} Hz",
        )
    values = np.frombuffer(block, "<f4").astype(np.float64)
    return _Samples(values, reading.measured_at_ns, NS_PER_S / reading.sample_rate_hz)


def _steepest(samples: _Samples, before: _Channel | None) -> float:
    """The largest change per second, from the last sample before this reading on (None: another session); 0 where there is one
    sample only, or time did not go on."""
    changes = np.abs(np.diff(samples.values)) * (NS_PER_S / samples.step_ns) if samples.step_ns else np.zeros(0)
    steepest = float(np.max(changes, initial=0.0))
    if before is not None and before.last_value is not None and samples.first_at_ns > before.last_at_ns:
        seconds = (samples.first_at_ns - before.last_at_ns) / NS_PER_S
        steepest = max(steepest, abs(float(samples.values[0]) - before.last_value) / seconds)
    return steepest


def _violation(rule: SensorLimitRule, values: npt.NDArray[np.float64], steepest: float, unit: str) -> _Violation | None:
    if not np.isfinite(values).all():
        return _Violation("is not a number", None, None)
    highest, lowest = float(values.max()), float(values.min())
    if rule.high is not None and highest > rule.high:
        return _Violation(f"is {highest:g} {unit}, above {rule.high:g}", highest, rule.high)
    if rule.low is not None and lowest < rule.low:
        return _Violation(f"is {lowest:g} {unit}, below {rule.low:g}", lowest, rule.low)
    if rule.max_change_per_s is not None and steepest > rule.max_change_per_s:
        return _Violation(
            f"changes by {steepest:g} {unit}/s, more than {rule.max_change_per_s:g}", steepest, rule.max_change_per_s
        )
    return None
