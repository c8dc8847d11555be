"""The simulated PLC's program: what it executes, what it refuses, and where its parts go, for any order of events."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.plc_events import LineMode
from schemas.reasons import PLC_CODES, PlcAnswer
from simulation.station import HOLDS_AT_MOST, Departure, Request, Scan, Station, StationRefuses

MS = 1_000_000
GATE_MS = 500


def new_station(*, gate_waits: bool = False) -> Station:
    return Station(name="aoi-1", session="s", gate_after_ms=GATE_MS, gate_waits=gate_waits)


def request(
    sequence: int,
    *,
    command_id: str | None = None,
    kind: str = "verdict",
    part_id: str = "p0",
    visit: int = 1,
    verdict: str = "OK",
    action: str = "reject",
    valid_until_ns: int = 10**15,
) -> Request:
    return Request(
        sequence=sequence,
        command_id=f"c{sequence}" if command_id is None else command_id,
        kind=kind,
        part_id=part_id,
        visit=visit,
        verdict=verdict,
        action=action,
        reason="because",
        valid_until_ns=valid_until_ns,
    )


def answered(done: Scan) -> PlcAnswer:
    assert done.answer is not None
    return PLC_CODES[done.answer.result]


def drive(station: Station, until_ms: int, *, from_ms: int = 0) -> list[Departure]:
    """Runs empty cycles of 10 ms and returns what left."""
    return [part for ms in range(from_ms, until_ms, 10) for part in station.scan(None, now_ns=ms * MS).left]


@pytest.mark.parametrize(
    ("verdict", "action", "lane"),
    [
        ("OK", "reject", "good"),
        ("NOT_OK", "reject", "reject"),
        ("NOT_OK", "pass", "good"),
        ("NOT_DECIDABLE", "reject", "reject"),
        ("NOT_DECIDABLE", "pass", "good"),
        ("NOT_OK", "stop_line", "reject"),
    ],
)
def test_an_accepted_verdict_decides_the_lane(verdict: str, action: str, lane: str) -> None:
    station = new_station()
    station.arrive(part_id="p0", recipe="r@1", batch="b", now_ns=0)
    assert answered(station.scan(request(1, verdict=verdict, action=action), now_ns=MS)) is PlcAnswer.ACCEPTED
    (left,) = drive(station, 1000)
    assert (left.lane, left.by_fail_safe, left.reject_confirmed) == (lane, False, lane == "reject")
    assert (station.mode is LineMode.STOPPED) == (action == "stop_line")


def test_a_part_without_a_verdict_is_rejected_by_the_plc_alone() -> None:
    station = new_station()
    station.arrive(part_id="p0", recipe="r@1", batch="b", now_ns=0)
    assert drive(station, GATE_MS) == []
    (left,) = drive(station, GATE_MS + 100, from_ms=GATE_MS)
    assert (left.lane, left.by_fail_safe, left.reject_confirmed) == ("reject", True, True)


def test_a_verdict_that_is_read_as_its_part_reaches_the_gate_is_too_late() -> None:
    station = new_station()
    station.arrive(part_id="p0", recipe="r@1", batch="b", now_ns=0)
    assert answered(station.scan(request(1), now_ns=GATE_MS * MS)) is PlcAnswer.UNKNOWN_PART
    (left,) = drive(station, GATE_MS + 100, from_ms=GATE_MS + 10)
    assert left.by_fail_safe


def test_the_reject_is_confirmed_after_the_gate_has_moved() -> None:
    station = new_station()
    station.arrive(part_id="p0", recipe="r@1", batch="b", now_ns=0)
    assert station.scan(None, now_ns=GATE_MS * MS).left == []
    assert station.scan(None, now_ns=(GATE_MS + 40) * MS).left == []
    assert len(station.scan(None, now_ns=(GATE_MS + 50) * MS).left) == 1


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (request(1, part_id="nobody"), PlcAnswer.UNKNOWN_PART),
        (request(1, visit=2), PlcAnswer.UNKNOWN_PART),
        (request(1, valid_until_ns=MS), PlcAnswer.EXPIRED),
        (request(1, kind="stop_line", valid_until_ns=0), PlcAnswer.EXPIRED),
        (request(1, command_id=""), PlcAnswer.INVALID),
        (request(1, kind="explode"), PlcAnswer.INVALID),
        (request(1, verdict="MAYBE"), PlcAnswer.INVALID),
        (request(1, action=""), PlcAnswer.INVALID),
        (request(1, visit=0), PlcAnswer.INVALID),
    ],
)
def test_a_refused_command_changes_nothing(refused: Request, why: PlcAnswer) -> None:
    station = new_station()
    station.arrive(part_id="p0", recipe="r@1", batch="b", now_ns=0)
    done = station.scan(refused, now_ns=MS)
    assert answered(done) is why
    assert done.executed is None
    assert station.mode is LineMode.RUNNING
    assert [left.by_fail_safe for left in drive(station, 1000)] == [True]


def test_a_second_command_cannot_change_a_decided_part() -> None:
    station = new_station()
    station.arrive(part_id="p0", recipe="r@1", batch="b", now_ns=0)
    station.scan(request(1, verdict="NOT_OK"), now_ns=MS)
    assert answered(station.scan(request(2, verdict="OK"), now_ns=2 * MS)) is PlcAnswer.WRONG_STATE
    assert [left.lane for left in drive(station, 1000)] == ["reject"]


def test_the_same_command_again_is_acknowledged_and_not_executed_even_after_its_part_left() -> None:
    station = new_station()
    station.arrive(part_id="p0", recipe="r@1", batch="b", now_ns=0)
    station.scan(request(1, command_id="c", valid_until_ns=100 * MS), now_ns=MS)
    drive(station, 1000)
    done = station.scan(request(2, command_id="c", valid_until_ns=100 * MS), now_ns=1000 * MS)
    assert answered(done) is PlcAnswer.ACCEPTED
    assert done.executed is None


def test_a_sequence_that_was_acknowledged_is_not_answered_again() -> None:
    station = new_station()
    assert station.scan(request(7, kind="stop_line"), now_ns=0).answer is not None
    assert station.scan(request(7, kind="stop_line", command_id="other"), now_ns=MS).answer is None


def test_many_commands_never_make_the_plc_forget_one_that_is_still_valid() -> None:
    station = new_station()
    results = [
        answered(station.scan(request(n, kind="stop_line", valid_until_ns=10**15), now_ns=n)) for n in range(1, 5000)
    ]
    first_refused = results.index(PlcAnswer.WRONG_STATE)
    assert set(results[first_refused:]) == {PlcAnswer.WRONG_STATE}
    again = station.scan(request(9999, command_id="c1", kind="stop_line"), now_ns=10**6)
    assert answered(again) is PlcAnswer.ACCEPTED
    assert again.executed is None


def test_a_stopped_line_takes_no_part_until_the_operator_restarts_it() -> None:
    station = new_station()
    done = station.scan(request(1, kind="stop_line", part_id="", visit=0, verdict="", action=""), now_ns=0)
    assert done.line_changed
    assert (station.mode, station.cause) == (LineMode.STOPPED, "because")
    with pytest.raises(StationRefuses, match="stopped"):
        station.arrive(part_id="p0", recipe="r@1", batch="b", now_ns=MS)
    assert not station.scan(None, now_ns=2999 * MS).line_changed
    assert station.scan(None, now_ns=3000 * MS).line_changed
    assert station.arrive(part_id="p0", recipe="r@1", batch="b", now_ns=3001 * MS).trigger_count == 1


def test_a_part_that_comes_back_is_on_its_next_visit() -> None:
    station = new_station()
    visits = []
    for start_ms in (0, 1000, 2000):
        visits.append(station.arrive(part_id="p0", recipe="r@1", batch="b", now_ns=start_ms * MS).visit)
        drive(station, start_ms + 1000, from_ms=start_ms)
    assert visits == [1, 2, 3]


def test_a_full_station_refuses_a_part() -> None:
    station = new_station()
    for number in range(HOLDS_AT_MOST):
        station.arrive(part_id=f"p{number}", recipe="r@1", batch="b", now_ns=0)
    with pytest.raises(StationRefuses, match="holds 64 parts"):
        station.arrive(part_id="one more", recipe="r@1", batch="b", now_ns=0)


def test_a_waiting_gate_lets_a_part_go_with_its_verdict() -> None:
    station = new_station(gate_waits=True)
    station.arrive(part_id="p0", recipe="r@1", batch="b", now_ns=0)
    station.scan(request(1), now_ns=MS)
    assert [left.lane for left in station.scan(None, now_ns=2 * MS).left] == ["good"]


# --- for any order of events -------------------------------------------------------------------------------------------

events = st.one_of(
    st.tuples(st.just("arrive"), st.integers(0, 4)),
    st.tuples(st.just("wait"), st.integers(1, 700)),
    st.tuples(
        st.just("write"),
        st.builds(
            request,
            st.integers(0, 6),
            command_id=st.sampled_from(["", *(f"c{n}" for n in range(8))]),
            kind=st.sampled_from(["verdict", "verdict", "verdict", "stop_line", "dance"]),
            part_id=st.sampled_from([f"p{n}" for n in range(5)]),
            visit=st.integers(0, 3),
            verdict=st.sampled_from(["OK", "NOT_OK", "NOT_DECIDABLE", "?"]),
            action=st.sampled_from(["reject", "pass", "stop_line", "?"]),
            valid_until_ns=st.integers(-100, 5000).map(lambda ms: ms * MS),
        ),
    ),
)


@dataclass
class Seen:
    arrived_ns: dict[tuple[str, int], int] = field(default_factory=dict)
    decided: dict[tuple[str, int], Request] = field(default_factory=dict)
    left: dict[tuple[str, int], Departure] = field(default_factory=dict)
    executed_ids: set[str] = field(default_factory=set)


@given(st.lists(events, max_size=60), st.booleans())
@settings(max_examples=300, deadline=None)
def test_nothing_stale_is_ever_executed_and_every_part_leaves_once_as_it_was_decided(
    history: list[tuple[str, int | Request]], gate_waits: bool
) -> None:
    station, seen, now_ns = new_station(gate_waits=gate_waits), Seen(), 0
    for what, argument in history:
        now_ns += MS
        if isinstance(argument, Request):
            check(seen, station.scan(argument, now_ns=now_ns), argument, now_ns)
        elif what == "wait":
            now_ns += argument * MS
            check(seen, station.scan(None, now_ns=now_ns), None, now_ns)
        elif station.mode is LineMode.RUNNING:
            arrival = station.arrive(part_id=f"p{argument}", recipe="r@1", batch="b", now_ns=now_ns)
            seen.arrived_ns[arrival.part_id, arrival.visit] = now_ns
    for _ in range(2):
        now_ns += GATE_MS * MS
        check(seen, station.scan(None, now_ns=now_ns), None, now_ns)
    assert station.is_empty
    assert seen.left.keys() == seen.arrived_ns.keys()
    for key, departure in seen.left.items():
        decision = seen.decided.get(key)
        assert departure.by_fail_safe == (decision is None)
        passes = decision is not None and (decision.verdict == "OK" or decision.action == "pass")
        assert (departure.lane == "good") == passes


def check(seen: Seen, done: Scan, asked: Request | None, now_ns: int) -> None:
    for departure in done.left:
        key = (departure.part_id, departure.visit)
        assert key not in seen.left
        seen.left[key] = departure
    if asked is not None and done.answer is not None:
        accepted = answered(done) is PlcAnswer.ACCEPTED
        assert done.answer.sequence == asked.sequence
        assert accepted == (done.executed is not None or asked.command_id in seen.executed_ids)
    if done.executed is None:
        return
    command = done.executed
    assert command is asked
    assert now_ns < command.valid_until_ns
    assert command.command_id not in seen.executed_ids
    seen.executed_ids.add(command.command_id)
    if command.kind == "verdict":
        key = (command.part_id, command.visit)
        assert key in seen.arrived_ns
        assert key not in seen.left
        assert now_ns < seen.arrived_ns[key] + GATE_MS * MS
        assert key not in seen.decided
        seen.decided[key] = command
