"""The ledger balances when everything adds up, and names each thing that does not."""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_parts import MS, T0, VIEWS, arrival, backfilled, deferral, inspection
from ledger_log import LATER_NS, T0_MS, Log, Logged, confirmed, enter, frame, left, result

from processors.ledger import Ledger
from processors.ledger_findings import LedgerReport
from processors.ledger_frames import DEFERRAL_SPAN_MS
from schemas.codec import encode
from schemas.commands import Command
from schemas.frames import DroppedRange
from schemas.inspections import Inspection
from schemas.plc_events import PartLeft, RejectConfirmed
from schemas.reasons import CommandKind, CommandOutcome, FailSafe, RefusalReason
from schemas.records import DeadLetter
from schemas.topics import (
    COMMAND_RESULTS,
    COMMANDS,
    DEAD_LETTERS,
    FRAMES,
    INSPECTIONS,
    MANIFESTS,
    PLC_EVENTS,
    VERDICTS,
    Topic,
)


@pytest.fixture
def log() -> Log:
    found = Log()
    for number in range(4):
        found.part(number, bad=number == 2)
    found.manifests(3)
    return found


def kinds(report: LedgerReport, which: Literal["differences", "open"] = "differences") -> list[str]:
    return sorted({difference.kind for difference in getattr(report, which)})


def test_a_line_on_which_everything_went_right_balances(log: Log) -> None:
    report = log.report()
    assert report.differences == ()
    assert report.balanced
    assert report.counts == {
        "frames_published": 12,
        "frames_inspected": 12,
        "parts_arrived": 4,
        "parts_left": 4,
        "parts_rejected": 1,
        "rejects_confirmed": 1,
        "verdicts": 4,
        "commands": 4,
        "results_acknowledged": 4,
    }
    assert report.open_count == 0


@pytest.mark.parametrize(
    ("topic", "kind", "named"),
    [
        (INSPECTIONS, Inspection, "frame_not_inspected"),
        (VERDICTS, None, "part_without_verdict"),
        (COMMANDS, None, "result_without_command"),
        (COMMAND_RESULTS, None, "command_without_result"),
        (PLC_EVENTS, RejectConfirmed, "reject_not_confirmed"),
    ],
)
def test_what_is_missing_is_named(log: Log, topic: Topic, kind: type[Any] | None, named: str) -> None:
    report = log.without(topic, kind).report()
    assert not report.balanced
    assert named in kinds(report)
    assert all(difference.subject for difference in report.differences)


def test_a_part_of_which_only_the_end_is_known_is_named() -> None:
    found = Log()
    found.put(PLC_EVENTS, left("SN-9", "good"))
    assert "part_not_arrived" in kinds(found.report())
    midway = Ledger(begins_midway=True)
    enter(midway, found.records)
    assert midway.report(now_ns=LATER_NS).balanced


def test_a_gap_is_missing_and_a_named_drop_is_not(log: Log) -> None:
    log.manifests(9, dropped=(DroppedRange(first_sequence=4, last_sequence=9, reason="broker_away"),))
    gap = Log([item for item in log.records if item.topic is not MANIFESTS])
    gap.put(INSPECTIONS, inspection("left", part_id="SN-6", sequence=6))
    assert kinds(gap.report()) == ["frame_missing"]
    assert gap.report().differences[0].subject == "aoi-1-left/g1/4"

    dropped = Log([item for item in log.records if item.topic is not MANIFESTS])
    left_camera = msgspec.structs.replace(
        next(item.message for item in log.records if item.topic is MANIFESTS),
        last_sequence=5,
        dropped=(DroppedRange(first_sequence=4, last_sequence=5, reason="broker_away"),),
    )
    dropped.put(MANIFESTS, left_camera)
    assert dropped.report().balanced
    assert dropped.report().dropped == {"broker_away": 2}
    dropped.put(INSPECTIONS, inspection("left", part_id="SN-4", sequence=4))
    assert "frame_dropped_and_published" in kinds(dropped.report())


def test_frames_sent_again_by_a_person_may_have_gaps() -> None:
    found = Log()
    found.put(INSPECTIONS, inspection("left", session="g1+replay-1", sequence=41))
    assert "frame_missing" not in kinds(found.report())


def test_frames_that_a_plant_publishes_itself_are_accounted_for_by_their_offsets(log: Log) -> None:
    own = Log([item for item in log.records if item.topic is not MANIFESTS]).ledger()
    for partition in range(3):
        own.holds(partition, 0, 5)  # one more each than was inspected
    assert own.unaccounted_frames() == [(0, 4), (1, 4), (2, 4)]
    assert kinds(own.report(now_ns=LATER_NS)) == ["frame_record_not_accounted"]
    headers = encode(FRAMES, frame("left", 4)).headers
    own.add(FRAMES, frame("left", 4), partition=0, offset=4, at_ms=T0_MS, headers=headers)
    own.add(FRAMES, None, partition=1, offset=4, at_ms=T0_MS)
    own.add(DEAD_LETTERS, letter("frames", 1, 4), partition=0, offset=0, at_ms=T0_MS)
    own.add(
        FRAMES, frame("right", 3), partition=2, offset=4, at_ms=T0_MS, headers=encode(FRAMES, frame("right", 3)).headers
    )
    report = own.report(now_ns=LATER_NS)
    assert [(difference.kind, difference.subject) for difference in report.differences] == [
        ("frame_not_inspected", "aoi-1-left/g1/4")
    ]


def letter(topic: str, partition: int, offset: int, reason: RefusalReason = RefusalReason.TRUNCATED) -> DeadLetter:
    return DeadLetter(
        id=f"{topic}/{partition}/{offset}",
        topic=topic,
        partition=partition,
        offset=offset,
        stage="inspect",
        reason=reason.value,
        detail="",
        refused_at_ns=T0,
    )


@pytest.mark.parametrize("letter_first", [True, False])
def test_a_record_that_cannot_be_decoded_needs_its_dead_letter(letter_first: bool) -> None:
    record = Logged(INSPECTIONS, None, offset=17)
    answer = Logged(DEAD_LETTERS, letter("inspections", 0, 17))
    assert kinds(Log([record]).report()) == ["record_without_dead_letter"]
    assert Log([answer, record] if letter_first else [record, answer]).report().balanced


def test_a_dead_letter_that_cannot_be_decoded_is_counted_and_needs_no_letter_of_its_own() -> None:
    report = Log([Logged(DEAD_LETTERS, None, offset=3)]).report()
    assert report.balanced
    assert report.counts["undecodable"] == 1


def test_an_arrival_at_an_unknown_station_needs_its_dead_letter_and_no_verdict() -> None:
    record = Logged(PLC_EVENTS, arrival(station="nowhere"), partition=2, offset=5)
    answer = Logged(DEAD_LETTERS, letter("plc-events", 2, 5, RefusalReason.UNKNOWN_STATION))
    assert Log([record, answer]).report().balanced
    assert Log([answer, record]).report().balanced
    assert not Log([record]).report().balanced


def test_repeated_records_are_counted_and_contradictions_are_differences(log: Log) -> None:
    again = [item for item in log.records if item.topic in (INSPECTIONS, VERDICTS)]
    verdict = next(item.message for item in again if item.topic is VERDICTS)
    slower = msgspec.structs.replace(again[0].message, inspected_at_ns=T0 + 999 * MS)
    assert Log([*log.records, *again, Logged(again[0].topic, slower)]).report().balanced
    log.records += again
    assert log.report().duplicates == {"inspections": 12, "verdicts": 4}
    log.put(VERDICTS, msgspec.structs.replace(verdict, action=FailSafe.STOP_LINE))
    report = log.report()
    assert [(difference.kind, difference.subject) for difference in report.differences] == [
        ("contradiction", f"verdicts:{verdict.id}")
    ]


@pytest.mark.parametrize(
    ("outcome", "lane", "by_fail_safe", "adds_up"),
    [
        (CommandOutcome.ACKNOWLEDGED, "good", False, True),
        (CommandOutcome.ACKNOWLEDGED, "reject", False, False),
        (CommandOutcome.ACKNOWLEDGED, "reject", True, False),
        (CommandOutcome.REFUSED_EXPIRED, "reject", True, True),
        (CommandOutcome.REFUSED_EXPIRED, "good", False, False),
        (CommandOutcome.EXPIRED, "reject", True, True),
        (CommandOutcome.EXPIRED, "good", False, True),
        (CommandOutcome.EXPIRED, "reject", False, False),
        (CommandOutcome.OBSERVED, "reject", False, True),
        (None, "reject", True, True),
        (None, "good", False, False),
    ],
)
def test_the_lane_that_the_plc_reports_must_follow_from_what_it_answered(
    outcome: CommandOutcome | None, lane: str, by_fail_safe: bool, adds_up: bool
) -> None:
    found = Log()
    found.part(0)
    kept = [
        item
        for item in found.records
        if item.topic is not COMMAND_RESULTS
        and not (outcome is None and item.topic is COMMANDS)
        and not isinstance(item.message, PartLeft)
    ]
    again = Log(kept)
    if outcome is not None:
        (command,) = [item.message for item in found.records if item.topic is COMMANDS]
        again.put(COMMAND_RESULTS, result(command, outcome))
    again.put(PLC_EVENTS, left("SN-0", lane, by_fail_safe=by_fail_safe))
    if lane == "reject":
        again.put(PLC_EVENTS, confirmed("SN-0"))
    report = again.report()
    assert report.balanced is adds_up
    assert set(kinds(report)) <= {"wrong_lane", "left_without_command"}


def test_an_order_to_stop_the_line_needs_its_answer() -> None:
    order = Command(
        id="alert/rate/aoi-1/1",
        station="aoi-1",
        kind=CommandKind.STOP_LINE,
        issued_at_ns=T0,
        valid_until_ns=T0,
        reason_code="defect_rate",
    )
    found = Log()
    found.put(COMMANDS, order)
    assert kinds(found.report()) == ["command_without_result"]
    found.put(COMMAND_RESULTS, result(order, CommandOutcome.EXPIRED))
    assert found.report().balanced


def test_what_is_young_is_open_and_no_difference(log: Log) -> None:
    report = log.without(VERDICTS).ledger().report(now_ns=T0 + 30_000 * MS)
    assert report.balanced
    assert [difference.kind for difference in report.open] == ["part_without_verdict"]
    assert not log.without(VERDICTS).ledger().report(now_ns=T0, settle_ms=0).balanced


@pytest.mark.parametrize("minutes", [2, 50])
def test_a_part_whose_departure_is_told_late_is_still_known(minutes: int) -> None:
    """The PLC gateway was away while the part went through the gate, and tells it from the PLC's ring when it is back."""
    log, back_ms = Log(), T0_MS + minutes * 60_000
    log.part(0)
    log = log.without(PLC_EVENTS, PartLeft)
    for number in (1, 2):  # what comes next closes what is settled
        log.part(number, at_ms=back_ms + number * 20_000)
    log.put(PLC_EVENTS, left("SN-0", "good"), at_ms=back_ms + 50_000)
    log.manifests(2)
    assert log.report().differences == ()


def test_a_deferred_frame_is_open_until_it_is_inspected_and_a_difference_once_it_cannot_be_read_any_more(
    log: Log,
) -> None:
    late = inspection("left", part_id="SN-9", sequence=4)
    log.put(INSPECTIONS, deferral(late))
    in_an_hour = log.ledger().report(now_ns=LATER_NS)
    assert in_an_hour.balanced
    assert kinds(in_an_hour, "open") == ["frame_not_backfilled"]
    assert (in_an_hour.counts["frames_published"], in_an_hour.counts["frames_inspected"]) == (13, 12)
    assert in_an_hour.dropped == {"deferred": 1}
    never = log.ledger().report(now_ns=T0 + (FRAMES.retention_ms + 2 * DEFERRAL_SPAN_MS) * MS)
    assert kinds(never) == ["frame_not_backfilled"]
    log.put(INSPECTIONS, backfilled(late))
    report = log.report()
    assert (report.balanced, report.open, report.dropped, report.counts["frames_inspected"]) == (True, (), {}, 13)


def test_a_frame_that_was_inspected_and_then_deferred_is_inspected(log: Log) -> None:
    """The worker died between the two: nothing was committed, and the frame was older when it was read again."""
    late = inspection("left", part_id="SN-9", sequence=4)
    log.put(INSPECTIONS, late, deferral(late), backfilled(late))
    report = log.report()
    assert (report.balanced, report.dropped, report.counts["frames_inspected"]) == (True, {}, 13)
    assert report.duplicates == {"inspections": 1}


def test_memory_does_not_grow_with_the_parts_that_add_up() -> None:
    ledger = Ledger()
    found = Log()
    sizes = []
    for number in range(400):
        found.part(number, at_ms=T0_MS + number * 1_000)
        enter(ledger, found.records)
        found.records.clear()
        if number % 100 == 99:
            sizes.append(len(json.dumps({**ledger.checkpoint(), "distinct": None})))
    assert sizes[-1] < 1.1 * sizes[0]
    assert ledger.report(now_ns=LATER_NS).balanced


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_order_duplicates_and_checkpoints_change_nothing(data: st.DataObject) -> None:
    log = Log()
    for number in range(3):
        log.part(number, bad=number == 1)
    log.manifests(4)
    late = [inspection(view, part_id="SN-3", sequence=sequence) for sequence in (3, 4) for view in VIEWS]
    log.put(INSPECTIONS, *map(deferral, late))
    log.put(INSPECTIONS, *map(backfilled, late[: data.draw(st.integers(0, len(late)))]))
    if data.draw(st.booleans()):
        log = log.without(data.draw(st.sampled_from([INSPECTIONS, VERDICTS, COMMANDS, COMMAND_RESULTS])))
    expected = log.report()
    mixed = data.draw(st.permutations(log.records + data.draw(st.lists(st.sampled_from(log.records), max_size=5))))
    cut = data.draw(st.integers(0, len(mixed)))
    first = Ledger()
    enter(first, mixed[:cut])
    second = Ledger.from_checkpoint(json.loads(json.dumps(first.checkpoint())))
    enter(second, mixed[cut:])
    found = second.report(now_ns=LATER_NS)
    assert set(found.differences) == set(expected.differences)
    assert (found.counts, found.dropped) == (expected.counts, expected.dropped)
    assert sum(found.duplicates.values()) == len(mixed) - len(log.records)
