"""A log of a line on which everything goes right, for the tests of the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from judged_parts import MS, T0, VIEWS, arrival, defect, inspection, plant

from processors.judgements import Decision
from processors.judging import Judge
from processors.ledger import Ledger
from processors.ledger_findings import LedgerReport
from schemas.commands import Command, CommandResult
from schemas.frames import DroppedRange, Frame, ImageEncoding, Manifest
from schemas.plc_events import PartLeft, RejectConfirmed
from schemas.reasons import CommandOutcome
from schemas.topics import (
    COMMAND_RESULTS,
    COMMANDS,
    INSPECTIONS,
    MANIFESTS,
    PLC_EVENTS,
    VERDICTS,
    Topic,
)

T0_MS = T0 // MS
LATER_NS = T0 + 3_600_000 * MS


@dataclass(frozen=True)
class Logged:
    topic: Topic
    message: Any
    partition: int = 0
    offset: int = -1
    at_ms: int = T0_MS
    headers: Any = ()


@dataclass
class Log:
    """Records of a line on which everything goes right, part by part; tests take some away or add to them."""

    records: list[Logged] = field(default_factory=list)

    def put(self, topic: Topic, *messages: Any, at_ms: int = T0_MS) -> None:
        self.records += [
            Logged(topic, message, offset=len(self.records) + n, at_ms=at_ms) for n, message in enumerate(messages)
        ]

    def part(self, number: int, *, bad: bool = False, at_ms: int = T0_MS) -> None:
        """A part that is judged, commanded, and leaves as decided."""
        part_id = f"SN-{number}"
        found = [
            inspection(view, *([defect()] if bad and view == "left" else []), part_id=part_id, sequence=number)
            for view in VIEWS
        ]
        judge: Judge[int] = Judge(plant=plant())
        steps = [judge.take(item, source=0, size_bytes=1, at_ns=T0, now_ns=T0) for item in [arrival(part_id), *found]]
        (decision,) = [item for step in steps for item in step if isinstance(item, Decision)]
        assert decision.command is not None
        self.put(PLC_EVENTS, arrival(part_id), at_ms=at_ms)
        self.put(INSPECTIONS, *found, at_ms=at_ms)
        self.put(VERDICTS, decision.verdict, at_ms=at_ms)
        self.put(COMMANDS, decision.command, at_ms=at_ms)
        self.put(COMMAND_RESULTS, result(decision.command), at_ms=at_ms)
        self.put(
            PLC_EVENTS, left(part_id, "reject" if bad else "good"), *([confirmed(part_id)] if bad else []), at_ms=at_ms
        )

    def manifests(self, last: int, *, dropped: tuple[DroppedRange, ...] = (), closing: bool = True) -> None:
        for view in VIEWS:
            camera = f"aoi-1-{view}"
            self.put(
                MANIFESTS,
                Manifest(
                    id=f"{camera}/g1/0",
                    station="aoi-1",
                    camera=camera,
                    session="g1",
                    first_sequence=0,
                    last_sequence=last,
                    made_at_ns=T0,
                    dropped=dropped if view == "left" else (),
                    closing=closing,
                ),
            )

    def without(self, topic: Topic, kind: type[Any] | None = None) -> Log:
        """The same log less its last record of that topic (and type)."""
        matching = [
            n for n, item in enumerate(self.records) if item.topic is topic and isinstance(item.message, kind or object)
        ]
        return Log([item for n, item in enumerate(self.records) if n != matching[-1]])

    def ledger(self) -> Ledger:
        ledger = Ledger()
        enter(ledger, self.records)
        return ledger

    def report(self) -> LedgerReport:
        return self.ledger().report(now_ns=LATER_NS)


def enter(ledger: Ledger, records: list[Logged]) -> None:
    for item in records:
        ledger.add(
            item.topic,
            item.message,
            partition=item.partition,
            offset=item.offset,
            at_ms=item.at_ms,
            headers=item.headers,
        )


def left(part_id: str, lane: str, *, by_fail_safe: bool = False) -> PartLeft:
    return PartLeft(
        id=f"aoi-1/{part_id}/1/left",
        station="aoi-1",
        part_id=part_id,
        visit=1,
        lane=lane,
        by_fail_safe=by_fail_safe,
        occurred_at_ns=T0,
    )


def confirmed(part_id: str) -> RejectConfirmed:
    return RejectConfirmed(
        id=f"aoi-1/{part_id}/1/confirmed", station="aoi-1", part_id=part_id, visit=1, occurred_at_ns=T0
    )


def result(command: Command, outcome: CommandOutcome = CommandOutcome.ACKNOWLEDGED) -> CommandResult:
    return CommandResult(
        id=command.id,
        station=command.station,
        kind=command.kind,
        outcome=outcome,
        sequence=1,
        attempts=1,
        finished_at_ns=T0,
        part_id=command.part_id,
        visit=command.visit,
        acknowledged_at_ns=T0 + 80 * MS,
    )


def frame(view: str, sequence: int) -> Frame:
    camera = f"aoi-1-{view}"
    return Frame(
        id=f"{camera}/g1/{sequence}",
        station="aoi-1",
        camera=camera,
        view=view,
        session="g1",
        sequence=sequence,
        part_id=f"SN-{sequence}",
        visit=1,
        recipe="board-a@1",
        captured_at_ns=T0,
        encoding=ImageEncoding.PNG,
        width_px=1,
        height_px=1,
        size_bytes=1,
        sha256="",
        image=b"x",
    )
