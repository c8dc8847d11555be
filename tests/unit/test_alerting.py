"""Alerts are few and right: raised once, repeated as configured, cleared with hysteresis, the same after a restart."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.alert_actions import AlertStep
from processors.alerting import Alerting
from schemas.alert_rules import (
    AlertRule,
    DefectRateRule,
    ImageHealthRule,
    MissingFramesRule,
    PlcHeartbeatRule,
    SensorLimitRule,
    SilentCameraRule,
    SilentStationRule,
    WrongLaneRule,
)
from schemas.alerts import Alert, AlertState
from schemas.inspections import Imaging, Inspection
from schemas.plant import Camera, ExternalSource, Line, Plant, Plc, Station
from schemas.plc_events import LineMode, LineStateChanged, PartArrived, PartLeft, PlcFault
from schemas.reasons import CommandKind, FailSafe, FrameOutcome, VerdictValue
from schemas.verdicts import Verdict, verdict_id

S = 1_000_000_000
OK, NOT_OK, OPEN = VerdictValue.OK, VerdictValue.NOT_OK, VerdictValue.NOT_DECIDABLE


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
    return Alerting(plant=plant(*rules, plc=plc), stations=frozenset({"aoi"}))


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


RATE = DefectRateRule(
    name="rate", raise_ratio=0.3, clear_ratio=0.1, window_ms=20_000, minimum_parts=10, action="stop_line"
)


def feed_rate(system: Alerting, values: list[VerdictValue], *, first: int = 0) -> list[AlertStep]:
    steps = []
    for number, value in enumerate(values, start=first):
        steps += take(system, verdict(number, value), at_s=number)
    return steps


def test_a_defect_rate_is_raised_once_and_cleared_with_hysteresis() -> None:
    system = alerting(RATE)
    steps = feed_rate(system, [OK] * 20 + [NOT_OK] * 10 + [OK] * 30)
    assert [step.alert.state for step in steps] == [AlertState.RAISED, AlertState.CLEARED]
    raised, cleared = steps
    # 6 of the last 20 are 0.3; it is cleared when fewer than 2 of the last 20 are left
    assert (raised.alert.value, raised.alert.threshold) == (0.3, 0.3)
    assert raised.alert.episode == f"rate/aoi/{25 * S + S // 10}" == cleared.alert.episode
    assert cleared.alert.value == pytest.approx(1 / 20)
    assert raised.alert.evidence == tuple(f"aoi/{n}/1/1" for n in range(20, 26))


def test_few_parts_prove_nothing_and_undecided_ones_do_not_count() -> None:
    assert feed_rate(alerting(RATE), [NOT_OK] * 9) == []
    assert feed_rate(alerting(RATE), [NOT_OK] * 5 + [OPEN] * 15) == []
    assert len(feed_rate(alerting(RATE), [NOT_OK] * 10)) == 1


def test_parts_leave_the_window_by_event_time_whatever_the_clock_says() -> None:
    system = alerting(RATE)
    feed_rate(system, [NOT_OK] * 9)
    assert take(system, verdict(100, NOT_OK, at_s=100), at_s=9) == []


def test_a_duplicate_counts_once_and_a_review_replaces_the_lines_verdict() -> None:
    system = alerting(RATE)
    feed_rate(system, [OK] * 7 + [NOT_OK] * 2)
    for _ in range(5):
        assert take(system, verdict(8, NOT_OK), at_s=9) == []
    assert take(system, verdict(8, OK, revision=2), at_s=9) == []
    assert take(system, verdict(8, NOT_OK), at_s=9) == []
    assert take(system, verdict(9, NOT_OK), at_s=9) == [], "two of ten: the line's verdict of part 8 was overtaken"
    assert take(system, verdict(8, NOT_OK), at_s=9) == []
    (raised,) = take(system, verdict(8, NOT_OK, revision=3), at_s=10)
    assert raised.alert.value == 0.3


def test_a_line_stop_goes_out_with_the_alert_valid_for_ten_seconds_and_audited() -> None:
    (step,) = feed_rate(alerting(RATE), [NOT_OK] * 10)
    assert step.command is not None
    assert step.audit is not None
    assert step.command.id == f"alert/{step.alert.episode}"
    assert (step.command.kind, step.command.station) == (CommandKind.STOP_LINE, "aoi")
    assert step.command.valid_until_ns - step.command.issued_at_ns == 10 * S
    assert step.audit.subject == "aoi"
    assert step.alert.action == "stop_line"


def test_without_a_plc_nothing_can_be_stopped_and_the_alert_does_not_claim_it() -> None:
    (step,) = feed_rate(alerting(RATE, plc=None), [NOT_OK] * 10)
    assert (step.command, step.audit, step.alert.action) == (None, None, None)


def test_an_open_alert_is_repeated_as_configured_without_stopping_the_line_again() -> None:
    system = alerting(DefectRateRule(**{**_fields(RATE), "repeat_after_ms": 60_000, "longest_repeat_ms": 60_000}))
    (raised,) = feed_rate(system, [NOT_OK] * 10)
    at_ns = raised.alert.at_ns
    assert system.tick(at_ns + 59 * S) == []
    (first,) = system.tick(at_ns + 60 * S)
    assert system.tick(at_ns + 61 * S) == []
    (second,) = system.tick(at_ns + 120 * S)
    assert [first.alert.id, second.alert.id] == [f"{raised.alert.episode}/repeated/{n}" for n in (1, 2)]
    assert first.command is None


def test_an_alert_that_is_said_once_is_not_repeated() -> None:
    system = alerting(DefectRateRule(**{**_fields(RATE), "repeat_after_ms": None}))
    feed_rate(system, [NOT_OK] * 10)
    assert system.tick(10**9 * S) == []


def _fields(rule: Any) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in rule.__struct_fields__}


values = st.lists(st.sampled_from([OK, OK, NOT_OK, OPEN]), min_size=20, max_size=120)


@settings(max_examples=150, deadline=None)
@given(values, st.integers(0, 120), st.integers(0, 120))
def test_after_a_restart_anywhere_the_same_alerts_stand_on_the_topic(
    line: list[VerdictValue], crash: int, committed: int
) -> None:
    """The process dies after `crash` verdicts, of which `committed` were committed; the rest is read again."""
    verdicts = [verdict(number, value) for number, value in enumerate(line)]
    undisturbed = [
        step.alert for item in [alerting(RATE)] for v in verdicts for step in item.take(v, at_ns=0, now_ns=0)
    ]
    crash = min(crash, len(verdicts))
    committed = min(committed, crash)
    before, topic = alerting(RATE), []
    for item in verdicts[:crash]:
        topic += [step.alert for step in before.take(item, at_ns=0, now_ns=0)]
    after = alerting(RATE)
    for alert in topic:
        after.recall_alert(alert, now_ns=0)
    for item in verdicts[:committed]:
        after.recall(item, at_ns=0, now_ns=0)
    for item in verdicts[committed:]:
        topic += [step.alert for step in after.take(item, at_ns=0, now_ns=0)]
    assert topic == undisturbed


# --- silence ----------------------------------------------------------------------------------------------------------

CAMERA = SilentCameraRule(name="camera", after_ms=5_000)


def test_a_camera_that_gives_nothing_while_parts_arrive_is_silent_until_its_next_picture() -> None:
    system = alerting(CAMERA)
    for number in range(8):
        assert take(system, arrival(number), at_s=number) == []
        assert take(system, inspection(number, camera="right"), at_s=number) == []
        assert system.tick(int((number + 0.5) * S)) == [] or number >= 5
    assert system.open_alerts == {"camera": 1}
    assert take(system, inspection(1, camera="right"), at_s=8) == []
    (cleared,) = take(system, inspection(8, camera="left"), at_s=9)
    assert (cleared.alert.subject, cleared.alert.state) == ("left", AlertState.CLEARED)


def test_silence_counts_from_the_first_part_without_a_picture() -> None:
    system = alerting(CAMERA)
    take(system, arrival(1), at_s=1)
    take(system, inspection(1, camera="right"), at_s=1)
    take(system, arrival(2), at_s=2)
    take(system, inspection(2, camera="right"), at_s=2)
    assert system.tick(int(5.9 * S)) == []
    (raised,) = system.tick(6 * S)
    assert raised.alert.episode == f"camera/left/{S}"
    assert raised.alert.evidence == ("aoi/1/1/arrived",)
    assert system.tick(7 * S) == []


def test_a_camera_is_not_silent_when_no_part_came_or_none_that_needs_it() -> None:
    system = alerting(CAMERA)
    take(system, arrival(1, views=("right",)), at_s=1)
    take(system, inspection(1, camera="right"), at_s=1)
    assert system.tick(1000 * S) == []


def test_an_inspection_that_is_read_before_its_arrival_ends_the_wait_too() -> None:
    system = alerting(CAMERA)
    for camera in ("left", "right"):
        take(system, inspection(7, camera=camera, part="1"), at_s=1)
    take(system, arrival(1), at_s=1)
    assert system.tick(1000 * S) == []


STATION = SilentStationRule(name="station", after_ms=20_000)


def test_a_station_without_parts_while_the_line_runs_is_silent_until_one_comes() -> None:
    system = alerting(STATION)
    assert system.tick(10**6 * S) == [], "nothing is known before the first part"
    take(system, arrival(1), at_s=1)
    assert system.tick(20 * S) == []
    assert told(system.tick(21 * S)) == [("station", "aoi", AlertState.RAISED)]
    assert told(take(system, arrival(2), at_s=30)) == [("station", "aoi", AlertState.CLEARED)]


def test_a_line_that_stands_still_is_not_silent() -> None:
    system = alerting(STATION)
    take(system, arrival(1), at_s=1)
    take(system, mode(LineMode.STOPPED), at_s=2)
    assert system.tick(1000 * S) == []
    take(system, mode(LineMode.RUNNING), at_s=1000)
    assert system.tick(1019 * S) == [], "the time begins when the line starts"
    assert told(system.tick(1020 * S)) == [("station", "aoi", AlertState.RAISED)]
    assert told(take(system, mode(LineMode.HELD), at_s=1021)) == [("station", "aoi", AlertState.CLEARED)]


def test_a_backlog_after_a_restart_is_no_silence() -> None:
    system = alerting(STATION, CAMERA)
    now_ns = 5_000 * S
    system.recall(arrival(1), at_ns=S, now_ns=now_ns)
    assert system.tick(now_ns + S) == []
    assert told(system.tick(now_ns + 20 * S)) == [("station", "aoi", AlertState.RAISED)]
    system = alerting(STATION, CAMERA)
    system.recall(arrival(1), at_ns=S, now_ns=now_ns)
    system.take(arrival(2), at_ns=2 * S, now_ns=now_ns + 2 * S)
    assert system.tick(now_ns + 4 * S) == []


# --- faults -----------------------------------------------------------------------------------------------------------


def test_missing_frames_are_one_alert_until_there_was_no_gap_for_a_while() -> None:
    system = alerting(MissingFramesRule(name="gap", clear_after_ms=10_000))
    assert told(take(system, inspection(5, gap=True), at_s=1)) == [("gap", "left", AlertState.RAISED)]
    assert take(system, inspection(9, gap=True), at_s=5) == []
    assert take(system, inspection(10), at_s=6) == []
    assert system.tick(14 * S) == []
    assert told(system.tick(15 * S)) == [("gap", "left", AlertState.CLEARED)]


def test_missing_frames_that_were_open_before_a_restart_are_cleared_too() -> None:
    system = alerting(MissingFramesRule(name="gap", clear_after_ms=10_000))
    (raised,) = take(system, inspection(5, gap=True), at_s=1)
    again = alerting(MissingFramesRule(name="gap", clear_after_ms=10_000))
    again.recall_alert(raised.alert, now_ns=100 * S)
    assert again.tick(109 * S) == []
    assert told(again.tick(110 * S)) == [("gap", "left", AlertState.CLEARED)]


def test_a_plc_is_away_until_every_fault_of_it_is_over() -> None:
    system = alerting(PlcHeartbeatRule(name="plc"))
    assert told(take(system, fault("heartbeat_lost"), at_s=1)) == [("plc", "aoi", AlertState.RAISED)]
    assert take(system, fault("plc_away"), at_s=2) == []
    assert take(system, fault("heartbeat_lost", cleared=True), at_s=3) == []
    assert told(take(system, fault("plc_away", cleared=True), at_s=4)) == [("plc", "aoi", AlertState.CLEARED)]
    assert take(system, fault("other"), at_s=5) == []


def test_messages_of_stations_that_are_not_ours_raise_nothing() -> None:
    rules = (RATE, CAMERA, STATION, MissingFramesRule(name="gap"), PlcHeartbeatRule(name="plc"))
    system = Alerting(plant=plant(*rules), stations=frozenset())
    messages = [inspection(1, gap=True), arrival(1), fault("plc_away"), *(verdict(n, NOT_OK) for n in range(20))]
    assert [step for message in messages for step in take(system, message, at_s=1)] == []
    assert system.tick(10**6 * S) == []


def test_an_episode_that_was_raised_and_cleared_already_is_not_told_again() -> None:
    first = alerting(PlcHeartbeatRule(name="plc"))
    topic: list[Alert] = []
    for at_s, message in ((1, fault("plc_away")), (2, fault("plc_away", cleared=True))):
        topic += [step.alert for step in take(first, message, at_s=at_s)]
    again = alerting(PlcHeartbeatRule(name="plc"))
    for alert in topic:
        again.recall_alert(alert, now_ns=0)
    assert take(again, fault("plc_away"), at_s=1) == []
    assert take(again, fault("plc_away", cleared=True), at_s=2) == []
    assert again.open_alerts == {"plc": 0}
    assert len(take(again, fault("plc_away"), at_s=3)) == 1


def test_the_end_of_an_earlier_episode_read_again_does_not_clear_the_one_that_is_open() -> None:
    faults = [(n, fault("plc_away", cleared=n % 2 == 0)) for n in range(1, 4)]  # away, back, away
    first = alerting(PlcHeartbeatRule(name="plc"))
    topic = [step.alert for at_s, message in faults for step in take(first, message, at_s=at_s)]
    again = alerting(PlcHeartbeatRule(name="plc"))
    for alert in topic:
        again.recall_alert(alert, now_ns=0)
    assert [step for at_s, message in faults for step in take(again, message, at_s=at_s)] == []
    assert again.open_alerts == {"plc": 1}


# --- the wrong lane -----------------------------------------------------------------------------------------------------

WRONG_LANE = WrongLaneRule(name="lane", clear_after_ms=5_000, action="stop_line")


def left(number: int, lane: str = "good") -> PartLeft:
    return PartLeft(
        id=f"aoi/{number}/1/left",
        station="aoi",
        part_id=str(number),
        visit=1,
        lane=lane,
        by_fail_safe=False,
        occurred_at_ns=0,
    )


@pytest.mark.parametrize("verdict_first", [True, False])
def test_a_rejected_part_on_the_good_lane_stops_the_line_with_two_signals(verdict_first: bool) -> None:
    system = alerting(WRONG_LANE)
    pair = [verdict(1, NOT_OK), left(1)]
    first, second = pair if verdict_first else reversed(pair)
    assert take(system, first, at_s=1) == []
    (step,) = take(system, second, at_s=2)
    assert step.command is not None
    assert step.command.kind is CommandKind.STOP_LINE
    assert step.command.signals == ("lane sensor", "verdicts")
    assert step.alert.evidence == ("aoi/1/1/1", "aoi/1/1/left")
    assert told(system.tick(8 * S)) == [("lane", "aoi", AlertState.CLEARED)]


@pytest.mark.parametrize(
    ("said", "went"),
    [(OK, "good"), (NOT_OK, "reject"), (NOT_OK, "unknown"), (VerdictValue.NOT_DECIDABLE, "reject")],
)
def test_a_part_on_its_lane_is_no_alert(said: VerdictValue, went: str) -> None:
    system = alerting(WRONG_LANE)
    assert take(system, verdict(1, said), at_s=1) + take(system, left(1, went), at_s=2) == []


def test_an_undecided_part_that_the_fail_safe_rejects_belongs_on_the_other_lane() -> None:
    system = alerting(WRONG_LANE)
    take(system, verdict(1, VerdictValue.NOT_DECIDABLE), at_s=1)
    assert [step.alert.rule for step in take(system, left(1), at_s=2)] == ["lane"]


def test_the_half_from_before_a_restart_counts() -> None:
    system = alerting(WRONG_LANE)
    system.recall(verdict(1, NOT_OK), at_ns=S, now_ns=S)
    assert [step.alert.rule for step in take(system, left(1), at_s=2)] == ["lane"]


def test_rules_that_see_the_same_are_one_signal() -> None:
    vibration = SensorLimitRule(name="v", asset="press", channel="vibration", high=1)
    heat = SensorLimitRule(name="t", asset="press", channel="temperature", high=1)
    silent = SilentCameraRule(name="c")
    assert RATE.signals == DefectRateRule(name="other", raise_ratio=0.9, clear_ratio=0.1).signals
    assert silent.signals == MissingFramesRule(name="m").signals
    assert len({rule.signals for rule in (RATE, silent, vibration, heat, SilentStationRule(name="s"))}) == 5


# --- image health -------------------------------------------------------------------------------------------------------


def seen(number: int, *, camera: str = "left", **figures: float) -> Inspection:
    good = {"sharpness_ratio": 1.0, "level_ratio": 1.0, "saturated_ratio": 0.0, "black_ratio": 0.0, "shift_px": 0.5}
    return msgspec.structs.replace(inspection(number, camera=camera), imaging=Imaging(**{**good, **figures}))


DIRTY = ImageHealthRule(name="dirty", figure="sharpness_ratio", low=0.7, frames=10, camera="left")


def test_a_lens_that_gets_dirty_is_told_once_and_cleared_when_it_is_clean() -> None:
    system = alerting(DIRTY)
    ratios = [1.0] * 20 + [1.0 - 0.01 * step for step in range(60)] + [1.0] * 20
    steps = [
        (number, step.alert)
        for number, ratio in enumerate(ratios)
        for step in take(system, seen(number, sharpness_ratio=ratio), at_s=number)
    ]
    assert [(alert.subject, alert.state) for _, alert in steps] == [
        ("left/left", AlertState.RAISED), ("left/left", AlertState.CLEARED),
    ]  # fmt: skip
    # the average lags: a straight line is told 5 frames late, (frames - 1) / 2
    assert steps[0][0] == pytest.approx(50 + 5, abs=1)
    assert "below 0.7" in steps[0][1].summary


def test_one_bad_picture_is_no_dirty_lens_and_another_camera_is_not_asked() -> None:
    system = alerting(DIRTY)
    pictures = [seen(number, camera="right", sharpness_ratio=0.1) for number in range(30)]
    pictures += [seen(number, sharpness_ratio=0.2 if number == 15 else 1.0) for number in range(30)]
    assert [step for number, picture in enumerate(pictures) for step in take(system, picture, at_s=number)] == []


def test_nothing_is_said_of_a_camera_before_it_is_known() -> None:
    system = alerting(DIRTY)
    early = [step for number in range(9) for step in take(system, seen(number, sharpness_ratio=0.1), at_s=number)]
    assert early == []
    assert len(take(system, seen(9, sharpness_ratio=0.1), at_s=9)) == 1


@pytest.mark.parametrize("figure", ["saturated_ratio", "black_ratio", "shift_px", "level_ratio"])
def test_every_figure_has_an_upper_limit(figure: str) -> None:
    system = alerting(ImageHealthRule(name="high", figure=figure, high=2.0, frames=1))  # type: ignore[arg-type]
    assert take(system, seen(1, **{figure: 1.9}), at_s=1) == []
    assert len(take(system, seen(2, **{figure: 2.1}), at_s=2)) == 1
