"""What is wrong with the equipment: missing frames, a PLC that is away, a part on the wrong lane, a camera that sees badly."""

from __future__ import annotations

import msgspec
import pytest
from alerting_line import NOT_OK, OK, S, alerting, fault, inspection, take, told, verdict
from alerting_line import plant as line_plant

from processors.alert_rules import BrokerOutage
from processors.alerting import Alerting
from schemas.alert_rules import BrokerAwayRule, ImageHealthRule, MissingFramesRule, PlcHeartbeatRule, WrongLaneRule
from schemas.alerts import Alert, AlertState
from schemas.inspections import Imaging, Inspection
from schemas.plc_events import PartLeft
from schemas.reasons import CommandKind, VerdictValue


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
    assert take(system, fault("node_fault"), at_s=2) == []
    assert take(system, fault("second_writer"), at_s=2) == []
    assert take(system, fault("heartbeat_lost", cleared=True), at_s=3) == []
    assert take(system, fault("node_fault", cleared=True), at_s=3) == []
    assert take(system, fault("plc_away", cleared=True), at_s=3) == []
    assert told(take(system, fault("second_writer", cleared=True), at_s=4)) == [("plc", "aoi", AlertState.CLEARED)]
    assert take(system, fault("other"), at_s=5) == []


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


# --- the broker -------------------------------------------------------------------------------------------------------

BROKER = BrokerAwayRule(name="broker", after_ms=10_000, clear_after_ms=30_000)


def outage(lost_s: float, back_s: float) -> BrokerOutage:
    return BrokerOutage(lost_at_ns=int(lost_s * S), back_at_ns=int(back_s * S))


def test_a_broker_that_was_away_is_told_when_it_is_back_and_over_when_it_stayed() -> None:
    system = alerting(BROKER)
    (raised,) = take(system, outage(100, 142), at_s=142)
    assert told([raised]) == [("broker", "line-1", AlertState.RAISED)]
    assert (raised.alert.episode, raised.alert.value) == (f"broker/line-1/{100 * S}", 42_000.0)
    assert system.tick(171 * S) == []
    assert told(system.tick(172 * S)) == [("broker", "line-1", AlertState.CLEARED)]
    assert system.tick(500 * S) == []


def test_a_short_pause_is_no_outage_but_begins_the_time_anew() -> None:
    system = alerting(BROKER)
    assert take(system, outage(50, 59), at_s=59) == []
    assert system.tick(100 * S) == []
    take(system, outage(100, 142), at_s=142)
    assert take(system, outage(160, 165), at_s=165) == []
    assert system.tick(194 * S) == []
    assert told(system.tick(195 * S)) == [("broker", "line-1", AlertState.CLEARED)]


def test_an_outage_that_was_told_before_a_restart_is_cleared_after_it() -> None:
    (raised,) = take(alerting(BROKER), outage(100, 142), at_s=142)
    again = alerting(BROKER)
    again.recall_alert(raised.alert, now_ns=150 * S)
    assert again.tick(179 * S) == []
    assert told(again.tick(180 * S)) == [("broker", "line-1", AlertState.CLEARED)]


def test_who_does_not_have_the_first_station_of_a_line_says_nothing_of_it() -> None:
    system = Alerting(plant=line_plant(BROKER), owns=lambda key: False)
    assert system.take(outage(100, 142), at_ns=142 * S, now_ns=142 * S) == []


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


# --- image health -------------------------------------------------------------------------------------------------------


def seen(number: int, *, camera: str = "left", **figures: float) -> Inspection:
    good = {"sharpness_ratio": 1.0, "level_ratio": 1.0, "saturated_ratio": 0.0, "black_ratio": 0.0, "shift_px": 0.5}
    return msgspec.structs.replace(inspection(number, camera=camera), imaging=Imaging(**{**good, **figures}))


DIRTY = ImageHealthRule(name="dirty", figure="sharpness_ratio", low=0.7, frames=10, camera="left")


def test_a_lens_that_gets_dirty_is_told_once_and_cleared_when_it_is_clean() -> None:
    system = alerting(DIRTY)
    ratios = [1.0] * 20 + [1.0 - 0.01 * step for step in range(60)] + [1.0] * 30
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


def test_a_figure_that_wavers_at_its_limit_is_one_alert_until_it_was_inside_for_as_many_frames_as_it_is_averaged_over() -> (
    None
):
    system = alerting(DIRTY)
    ratios = [0.72, 0.66] * 50 + [1.0] * 20
    steps = [
        (number, step.alert.state)
        for number, ratio in enumerate(ratios)
        for step in take(system, seen(number, sharpness_ratio=ratio), at_s=number)
    ]
    assert [state for _, state in steps] == [AlertState.RAISED, AlertState.CLEARED]
    assert steps[1][0] == 100 + 9, "the first clean picture takes the average inside; the tenth frame in a row clears"


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
