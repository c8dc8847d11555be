"""A camera or a station that says nothing while the line works is told, and nothing else is."""

from __future__ import annotations

from alerting_line import CAMERA, STATION, S, alerting, arrival, inspection, mode, take, told

from schemas.alerts import AlertState
from schemas.plc_events import LineMode


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
