"""Where the time from the trigger to the PLC's acknowledgement goes: what the messages themselves say, part by part.

For parts of one view. All moments are of one machine's clock.

    trigger to capture          the PLC's trigger until the moment at which the camera dates its picture (a simulated one: the trigger)
    capture to inspect          from there: OPC UA notice and HTTP request, picture published, fetched from Kafka by the inspect stage
    inspection                  waiting for its turn, decoding, alignment, Triton, findings
    inspection to verdict       published, fetched by the judge, decided
    verdict to PLC              published, fetched by the PLC gateway, written (payload, then sequence)
    PLC                         the PLC's cycle until its echo has reached the gateway
"""

from __future__ import annotations

import statistics
from collections import defaultdict

from processors.part_state import PartVisit
from schemas.commands import CommandResult
from schemas.inspections import Inspection
from schemas.message import Message
from schemas.plc_events import PartArrived
from schemas.reasons import CommandKind, CommandOutcome
from schemas.verdicts import Verdict

STEPS = ("trigger to capture", "capture to inspect", "inspection", "inspection to verdict", "verdict to PLC", "PLC")
_MOMENTS = len(STEPS) + 1


class LineSteps:
    """Takes messages in any order; the first record of a moment is kept."""

    def __init__(self) -> None:
        self._moments: defaultdict[PartVisit, dict[int, int]] = defaultdict(dict)

    def add(self, message: Message | None) -> None:
        """Takes over the moments (ns) that a message states."""
        match message:
            case PartArrived():
                self._at(message, 0, message.occurred_at_ns)
            case Inspection(part_id=str()):
                self._at(message, 1, message.captured_at_ns)
                self._at(message, 2, message.received_at_ns)
                self._at(message, 3, message.inspected_at_ns)
            case Verdict(revision=1):
                self._at(message, 4, message.decided_at_ns)
            case CommandResult(kind=CommandKind.VERDICT, outcome=CommandOutcome.ACKNOWLEDGED):
                self._at(message, 5, message.written_at_ns)
                self._at(message, 6, message.acknowledged_at_ns)

    def medians_ms(self) -> dict[str, float]:
        """The median of every step in ms, over the parts of which all moments are known; empty where there is none."""
        whole = [moments for moments in self._moments.values() if len(moments) == _MOMENTS]
        if not whole:
            return {}
        return {
            name: round(statistics.median((moments[at + 1] - moments[at]) / 1e6 for moments in whole), 2)
            for at, name in enumerate(STEPS)
        }

    def _at(self, message: PartArrived | Inspection | Verdict | CommandResult, moment: int, at_ns: int) -> None:
        visit = PartVisit(message.station, message.part_id, message.visit)
        self._moments[visit].setdefault(moment, at_ns)
