"""Sensor readings: range and rate of change, one alert per episode, bad readings refused."""

from __future__ import annotations

import math
import struct

import msgspec
import pytest

from processors.alert_actions import AlertStep
from processors.sensor_limits import SensorLimits
from schemas.alert_rules import SensorLimitRule
from schemas.alerts import AlertState
from schemas.errors import Refused
from schemas.plant import Asset, Camera, Channel, ExternalSource, Line, Plant, Station
from schemas.sensors import SensorReading

S = 1_000_000_000
RAISED, CLEARED = AlertState.RAISED, AlertState.CLEARED


def limits(plc: str | None = None, **rule: object) -> SensorLimits:
    station = Station(name="aoi", cameras=(Camera(name="c", views=("v",), source=ExternalSource()),), plc=plc)
    plant = Plant(
        plant="test",
        lines=(Line(name="line-1", stations=(station,)),),
        recipes=(),
        assets=(Asset(name="press", line="line-1", channels=(Channel(name="temperature", unit="Cel"),)),),
        alerts=(SensorLimitRule(name="hot", asset="press", channel="temperature", clear_after_ms=5_000, **rule),),  # type: ignore[arg-type]
    )
    return SensorLimits(plant=plant)


def reading(at_s: float, value: float | None = None, *, sequence: int | None = None, **fields: object) -> SensorReading:
    number = int(at_s * 10) if sequence is None else sequence
    given = {"asset": "press", "channel": "temperature", "session": "s", "unit": "Cel", "value": value, **fields}
    return SensorReading(id=f"press/temperature/s/{number}", sequence=number, measured_at_ns=int(at_s * S), **given)  # type: ignore[arg-type]


def run(system: SensorLimits, values: list[float], *, first_s: int = 0) -> list[AlertStep]:
    steps: list[AlertStep] = []
    for at_s, value in enumerate(values, start=first_s):
        steps += system.take(reading(at_s, value), at_ns=at_s * S) or []
    return steps


def states(steps: list[AlertStep]) -> list[AlertState]:
    return [step.alert.state for step in steps]


def test_one_alert_per_episode_cleared_after_a_while_within_the_limits() -> None:
    steps = run(limits(high=70.0), [60, 71, 72, 69, 75, 69, 68, 67, 66, 65, 64, 63])
    assert states(steps) == [RAISED, CLEARED]
    raised, cleared = (step.alert for step in steps)
    assert (raised.subject, raised.value, raised.threshold, raised.since_at_ns) == ("press/temperature", 71, 70, S)
    assert raised.line == "line-1"
    assert cleared.at_ns == 10 * S  # within since 5 s, for 5 s
    assert cleared.episode == raised.episode


def test_a_dip_back_outside_starts_the_wait_anew_and_stays_one_episode() -> None:
    assert states(run(limits(low=5.0), [4, 6, 6, 6, 6, 4, 6, 6, 6, 6])) == [RAISED]


def test_the_limit_itself_is_within() -> None:
    assert run(limits(low=5.0, high=70.0), [5, 70]) == []


def test_a_change_that_is_too_fast_is_found_whichever_its_direction() -> None:
    assert states(run(limits(max_change_per_s=2.0), [20, 22, 24, 26])) == []
    assert states(run(limits(max_change_per_s=2.0), [20, 22.5])) == [RAISED]
    assert states(run(limits(max_change_per_s=2.0), [20, 17])) == [RAISED]


def test_a_new_session_or_a_clock_that_stands_still_is_no_change() -> None:
    system = limits(max_change_per_s=2.0)
    system.take(reading(1, 20), at_ns=S)
    assert system.take(reading(2, 90, session="t"), at_ns=2 * S) == []
    same_time = reading(2, 20, session="t", sequence=99)
    assert system.take(same_time, at_ns=3 * S) == []


@pytest.mark.parametrize("today_ns", [1_764_504_628_123_456_789, 1_764_504_628_123_456_701])
def test_two_readings_of_one_time_are_no_change(today_ns: int) -> None:
    system = limits(max_change_per_s=2.0)
    for sequence, value in enumerate((20, 90)):
        told = msgspec.structs.replace(reading(1, value, sequence=sequence), measured_at_ns=today_ns)
        assert system.take(told, at_ns=S) == []


def test_a_waveform_is_judged_by_each_of_its_samples() -> None:
    def block(at_s: float, samples: list[float]) -> SensorReading:
        return reading(at_s, waveform=struct.pack(f"<{len(samples)}f", *samples), sample_rate_hz=1000.0)

    assert states(limits(high=70.0).take(block(1, [60, 71, 60]), at_ns=S) or []) == [RAISED]
    assert limits(high=70.0).take(block(1, [60, 69, 60]), at_ns=S) == []
    assert states(limits(max_change_per_s=500.0).take(block(1, [1, 2]), at_ns=S) or []) == [RAISED]
    assert limits(max_change_per_s=1500.0).take(block(1, [1, 2]), at_ns=S) == []


def test_no_number_is_outside_any_limit() -> None:
    (step,) = limits(high=70.0).take(reading(1, math.nan), at_ns=S) or []
    assert "not a number" in step.alert.summary
    assert step.alert.value is None


def test_a_duplicate_is_recognised_and_judged_once() -> None:
    system = limits(high=70.0)
    assert system.take(reading(1, 60), at_ns=S) == []
    assert system.take(reading(1, 60), at_ns=2 * S) is None


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (reading(1, 20, asset="oven"), "unknown_asset"),
        (reading(1, 20, channel="noise"), "unknown_asset"),
        (reading(1, 20, unit="[degF]"), "wrong_type"),
        (reading(1), "missing_field"),
        (reading(1, 20, waveform=b"1234"), "missing_field"),
        (reading(1, waveform=b"12345", sample_rate_hz=10.0), "size_mismatch"),
        (reading(1, waveform=b"", sample_rate_hz=10.0), "size_mismatch"),
        (reading(1, waveform=b"1234", sample_rate_hz=0.0), "size_mismatch"),
        (reading(1, waveform=b"1234"), "size_mismatch"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_its_reason(bad: SensorReading, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        limits(high=70.0).take(bad, at_ns=S)
    assert refused.value.reason.value == reason


def test_after_a_restart_an_open_alert_is_not_raised_again_and_is_cleared() -> None:
    system = limits(high=70.0)
    (raised,) = run(system, [71, 60, 60])
    again = limits(high=70.0)
    again.recall_alert(raised.alert)
    again.recall(reading(1, 60), at_ns=S)
    again.recall(reading(2, 60), at_ns=2 * S)
    assert again.open_alerts == {"hot": 1}
    assert states(run(again, [60, 60, 60, 60], first_s=3)) == [CLEARED]


def test_a_rule_that_stops_the_line_stops_the_first_station_with_a_plc() -> None:
    (step,) = run(limits(plc="plc-1", high=70.0, action="stop_line"), [71])
    assert step.command is not None
    assert step.command.station == "aoi"
    (powerless,) = run(limits(high=70.0, action="stop_line"), [71])
    assert (powerless.command, powerless.alert.action) == (None, None)
