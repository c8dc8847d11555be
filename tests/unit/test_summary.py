"""The summary is what a plant engineer checks by hand: every figure follows from the messages, each counted once."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_parts import MS, T0, VIEWS, S, arrival, defect, inspection, plant

from processors.judgements import Decision
from processors.judging import Judge
from processors.ledger import Ledger
from processors.reviewing import revised
from processors.summary import Summary
from processors.verdict_consequences import defect_events
from schemas.alerts import Alert, AlertState, RetrainingTrigger
from schemas.commands import Command, CommandResult
from schemas.plc_events import PartArrived
from schemas.reasons import CommandOutcome, RefusalReason, VerdictValue
from schemas.records import DeadLetter, Review
from schemas.topics import (
    ALERTS,
    COMMAND_RESULTS,
    COMMANDS,
    DEAD_LETTERS,
    DEFECTS,
    INSPECTIONS,
    PLC_EVENTS,
    RETRAINING,
    VERDICTS,
    Topic,
)
from schemas.verdicts import Verdict

T0_MS = T0 // MS
Logged = tuple[Topic, Any]


def judged(events: list[Any], *, at_ns: int = T0, now_ns: int = T0 + 60 * MS) -> list[Logged]:
    """The records of parts that arrive at `at_ns` and are decided at `now_ns`."""
    judge: Judge[int] = Judge(plant=plant())
    records: list[Logged] = [(PLC_EVENTS if isinstance(event, PartArrived) else INSPECTIONS, event) for event in events]
    steps = [judge.take(event, source=0, size_bytes=1, at_ns=at_ns, now_ns=now_ns) for event in events]
    for item in [*(item for step in steps for item in step), *judge.tick(now_ns + 10 * S)]:
        if isinstance(item, Decision):
            records.append((VERDICTS, item.verdict))
            records += [(DEFECTS, event) for event in item.defects]
            if item.command is not None:
                records.append((COMMANDS, item.command))
    return records


def part(part_id: str, *defects: Any, views: tuple[str, ...] = VIEWS, number: int = 0) -> list[Any]:
    found = {view: defects if view == "left" else () for view in views}
    return [
        arrival(part_id),
        *(inspection(view, *of_view, part_id=part_id, sequence=number) for view, of_view in found.items()),
    ]


def answered(command: Command, outcome: CommandOutcome, *, after_ms: int = 0) -> Logged:
    return COMMAND_RESULTS, CommandResult(
        id=command.id,
        station=command.station,
        kind=command.kind,
        outcome=outcome,
        sequence=1,
        attempts=1,
        finished_at_ns=T0,
        part_id=command.part_id,
        visit=command.visit,
        acknowledged_at_ns=T0 + after_ms * MS,
    )


def alert(number: int, state: AlertState) -> Logged:
    return ALERTS, Alert(
        id=f"{number}/{state}",
        line="line-1",
        rule="rate",
        subject="aoi-1",
        severity="warning",
        state=state,
        episode=str(number),
        since_at_ns=T0,
        at_ns=T0,
        summary="",
    )


def letter(reason: RefusalReason, offset: int, stage: str) -> Logged:
    return DEAD_LETTERS, DeadLetter(
        id=f"frames/0/{offset}",
        topic="frames",
        partition=0,
        offset=offset,
        stage=stage,
        reason=reason.value,
        detail="",
        refused_at_ns=T0,
    )


def report(records: list[Logged], **arguments: Any) -> dict[str, Any]:
    summary, ledger = Summary(plant="test"), Ledger()
    for offset, (topic, message) in enumerate(records):
        summary.add(topic, message, at_ms=T0_MS)
        ledger.add(topic, message, partition=0, offset=offset, at_ms=T0_MS)
    return summary.report(duration_s=60.0, ledger=ledger.report(now_ns=T0 + S), **{"versions": {}, **arguments})


def run() -> list[Logged]:
    """Five parts: two good ones, two bad ones, and one with a missing view. One bad one is called OK, one good one NOT_OK."""
    records = judged(
        [
            *part("good-1"),
            *part("good-2", defect("spur"), number=1),
            *part("bad-1", defect("open"), defect("open"), number=2),
            *part("bad-2", number=3),
            *part("torn", views=VIEWS[:2], number=4),
        ]
    )
    commands = [message for topic, message in records if topic is COMMANDS]
    outcomes = [CommandOutcome.ACKNOWLEDGED] * 3 + [CommandOutcome.REFUSED_EXPIRED]
    records += [answered(*pair, after_ms=80) for pair in zip(commands, outcomes, strict=False)]
    records += [
        alert(1, AlertState.RAISED),
        alert(1, AlertState.REPEATED),
        alert(1, AlertState.CLEARED),
        alert(2, AlertState.RAISED),
    ]
    records += [
        letter(RefusalReason.TRUNCATED, 1, "inspect"),
        letter(RefusalReason.TRUNCATED, 1, "judge"),
        letter(RefusalReason.UNKNOWN_CAMERA, 2, "inspect"),
        (
            RETRAINING,
            RetrainingTrigger(
                id="m/score_shift/1", model="m", cause="score_shift", station="", fired_at_ns=1, evidence=()
            ),
        ),
    ]
    return records


TRUTH = {("good-1", 1): False, ("good-2", 1): False, ("bad-1", 1): True, ("bad-2", 1): True, ("never came", 1): True}


def test_a_challenge_part_is_a_part_but_no_truth_of_the_line() -> None:
    def marked(message: Any) -> Any:
        if not isinstance(message, Verdict) or not message.part_id.startswith("bad"):
            return message
        return msgspec.structs.replace(
            message, challenge="open", challenge_passed=message.verdict is VerdictValue.NOT_OK
        )

    found = report([(topic, marked(message)) for topic, message in run()], truth=TRUTH)
    assert found["parts"] == {"arrived": 5, "verdicts": 5, "ok": 2, "not_ok": 2, "not_decidable": 1}
    assert found["challenges"] == {"passed": 1, "failed": 1}
    assert found["truth"] == {"good": 2, "bad": 1, "escapes": 0, "overkill": 1}
    assert report(run())["challenges"] == {"passed": 0, "failed": 0}


def test_the_report_says_what_happened() -> None:
    found = report(run(), truth=TRUTH, versions={"linesight": "1.2.3", "kafka": "4", "triton": "2"})
    assert json.loads(json.dumps(found)) == found
    assert found["parts"] == {"arrived": 5, "verdicts": 5, "ok": 2, "not_ok": 2, "not_decidable": 1}
    assert found["truth"] == {"good": 2, "bad": 3, "escapes": 1, "overkill": 1}
    assert found["frames"] == {"published": 14, "inspected": 14, "dropped": {}}
    assert found["commands"] == {"sent": 4, "acknowledged": 3, "failed": 1}  # the torn part was past the gate
    assert found["defects"] == {"by_class": {"open": 2, "spur": 1}}
    assert found["alerts"] == {"raised": 2, "cleared": 1}
    assert found["retraining_triggers"] == 1
    assert found["dead_letters"] == {"truncated": 1, "unknown_camera": 1}
    assert found["versions"] == {
        "linesight": "1.2.3",
        "kafka": "4",
        "triton": "2",
        "models": {"defect_classifier": {"version": 1, "digest": "sha256:00"}},
    }
    assert found["latency_ms"]["trigger_to_plc_ack"] == {"p50": 80.0, "p95": 80.0, "p99": 80.0, "max": 80.0}
    assert found["latency_ms"]["capture_to_inspection"]["p50"] == 35.0
    assert found["latency_ms"]["trigger_to_verdict"]["p50"] == 60.0
    assert found["latency_ms"]["trigger_to_verdict"]["max"] == 10_060.0


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_order_and_repeated_records_change_nothing(data: st.DataObject) -> None:
    records = run()
    mixed = data.draw(st.permutations([*records, *data.draw(st.lists(st.sampled_from(records), max_size=10))]))
    found, expected = report(mixed, truth=TRUTH), report(records, truth=TRUTH)
    for one in (found, expected):
        one["ledger"]["differences"].sort(key=lambda item: (item["subject"], item["kind"]))
    assert found == expected


def test_latencies_follow_the_plcs_clock_unless_it_is_wrong() -> None:
    believed = judged([arrival(occurred_at_ns=T0 - 20 * MS), *part("SN-1")[1:]])
    wrong = judged([arrival(occurred_at_ns=T0 - 600 * S), *part("SN-1")[1:]])
    assert report(believed)["latency_ms"]["trigger_to_verdict"]["max"] == 80.0
    assert report(wrong)["latency_ms"]["trigger_to_verdict"]["max"] == 60.0


def test_a_wrong_clock_of_a_camera_does_not_count() -> None:
    found = msgspec.structs.replace(inspection("left"), captured_at_ns=T0 + 600 * S)
    assert report([(INSPECTIONS, found)])["latency_ms"]["capture_to_inspection"]["max"] == 30.0


def test_a_review_does_not_change_the_lines_own_figures() -> None:
    records = judged(part("SN-1", defect("open")))
    (verdict,) = [message for _, message in records if isinstance(message, Verdict)]
    label = Review(
        id="r",
        station="aoi-1",
        part_id="SN-1",
        visit=1,
        reviewer="anna",
        reviewed_at_ns=T0 + S,
        verdict=VerdictValue.NOT_OK,
    )
    second = revised(label, [verdict], plant=plant())
    assert second is not None
    after = report([*records, (VERDICTS, second), *((DEFECTS, event) for event in defect_events(second))])
    assert after == report(records)


def test_a_run_without_anything_is_no_error() -> None:
    found = report([])
    assert found["parts"]["arrived"] == 0
    assert found["latency_ms"]["trigger_to_verdict"] == {"p50": None, "p95": None, "p99": None, "max": None}
    assert found["ledger"] == {"balanced": True, "differences": []}


def test_dropped_frames_stand_there_by_reason() -> None:
    found = report([(INSPECTIONS, inspection("left", dropped="undecodable_image"))])
    assert found["frames"] == {"published": 1, "inspected": 0, "dropped": {"undecodable_image": 1}}
