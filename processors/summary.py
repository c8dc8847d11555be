"""What a run amounted to: messages in, `report.json` out (`Summary.report` shows its form).

Everything is counted once per id. Parts and defects are the line's own judgement (revision 1); a review changes neither. Challenge
parts are parts like others, but for the truth: that they are bad is no news of what the line makes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from processors.believed_time import believed_ns
from processors.distinct import Distinct, Sighting
from processors.latency_figures import Latencies, PartLatencies
from processors.ledger_findings import LedgerReport
from processors.part_state import PartVisit
from schemas.alerts import Alert, AlertState, RetrainingTrigger
from schemas.commands import Command, CommandResult
from schemas.inspections import Inspection
from schemas.message import NS_PER_MS, Message
from schemas.plc_events import PartArrived
from schemas.reasons import CommandKind, CommandOutcome, FailSafe, VerdictValue
from schemas.records import DeadLetter
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
from schemas.verdicts import DefectEvent, Verdict

SUMMARY_TOPICS: tuple[Topic, ...] = (
    PLC_EVENTS,
    INSPECTIONS,
    VERDICTS,
    DEFECTS,
    COMMANDS,
    COMMAND_RESULTS,
    ALERTS,
    RETRAINING,
    DEAD_LETTERS,
)
"""What a summary is made from."""

NOT_FAILED = (CommandOutcome.ACKNOWLEDGED, CommandOutcome.OBSERVED)

Truth = Mapping[tuple[str, int], bool]
"""(part_id, visit) -> whether the part is really bad."""


class Summary:
    """Call `add` for every record in any order, then `report`."""

    def __init__(self, *, plant: str) -> None:
        self._plant = plant
        self._distinct: dict[str, Distinct] = {topic.name: Distinct() for topic in SUMMARY_TOPICS}
        self._arrived = 0
        self._verdicts: Counter[VerdictValue] = Counter()
        self._passed: dict[tuple[str, int], bool] = {}
        self._challenges: dict[tuple[str, int], bool] = {}
        self._capture_to_inspection = Latencies()
        self._parts = PartLatencies()
        self._commands_sent = 0
        self._outcomes: Counter[CommandOutcome] = Counter()
        self._defects: Counter[str] = Counter()
        self._alerts: Counter[AlertState] = Counter()
        self._retraining_triggers = 0
        self._dead_letters: Counter[str] = Counter()
        self._models: dict[str, dict[str, Any]] = {}

    def add(self, topic: Topic, message: Message | None, *, at_ms: int) -> None:
        """A record with time `at_ms`. What cannot be decoded and other topics are passed over."""
        if message is None or topic.name not in self._distinct:
            return
        if self._distinct[topic.name].see(message.id, ()) is not Sighting.NEW:
            return
        match message:
            case PartArrived():
                self._arrived += 1
                triggered_ns = believed_ns(message.occurred_at_ns, at_ms * NS_PER_MS)
                self._parts.triggered(PartVisit(message.station, message.part_id, message.visit), triggered_ns)
            case Inspection():
                self._inspected(message)
            case Verdict(revision=1):
                self._judged(message)
            case DefectEvent(revision=1):
                self._defects[message.class_name] += 1
            case Command():
                self._commands_sent += 1
            case CommandResult():
                self._answered(message)
            case Alert():
                self._alerts[message.state] += 1
            case RetrainingTrigger():
                self._retraining_triggers += 1
            case DeadLetter():
                self._dead_letters[message.reason] += 1

    @property
    def acknowledgement_latencies_ms(self) -> list[float]:
        """From trigger to the PLC's acknowledgement, a value per part, in ms, in no order."""
        return self._parts.to_acknowledgement.values_ms

    def report(
        self, *, duration_s: float, ledger: LedgerReport, truth: Truth | None = None, versions: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The report as plain JSON values. `versions` names linesight, kafka and triton; models are as the inspections say."""
        return {
            "plant": self._plant,
            "duration_s": round(duration_s, 3),
            "parts": {
                "arrived": self._arrived,
                "verdicts": self._verdicts.total(),
                "ok": self._verdicts[VerdictValue.OK],
                "not_ok": self._verdicts[VerdictValue.NOT_OK],
                "not_decidable": self._verdicts[VerdictValue.NOT_DECIDABLE],
            },
            "truth": self._against({part: bad for part, bad in (truth or {}).items() if part not in self._challenges}),
            "challenges": {
                "passed": sum(self._challenges.values()),
                "failed": len(self._challenges) - sum(self._challenges.values()),
            },
            "frames": {
                "published": ledger.counts.get("frames_published", 0),
                "inspected": ledger.counts.get("frames_inspected", 0),
                "dropped": ledger.dropped,
            },
            "ledger": {
                "balanced": ledger.balanced,
                "differences": ledger.as_json()["differences"],
            },
            "latency_ms": {
                "capture_to_inspection": self._capture_to_inspection.percentiles(),
                "trigger_to_verdict": self._parts.to_verdict.percentiles(),
                "trigger_to_plc_ack": self._parts.to_acknowledgement.percentiles(),
            },
            "commands": {
                "sent": self._commands_sent,
                "acknowledged": self._outcomes[CommandOutcome.ACKNOWLEDGED],
                "failed": sum(count for outcome, count in self._outcomes.items() if outcome not in NOT_FAILED),
            },
            "defects": {"by_class": dict(sorted(self._defects.items()))},
            "alerts": {"raised": self._alerts[AlertState.RAISED], "cleared": self._alerts[AlertState.CLEARED]},
            "retraining_triggers": self._retraining_triggers,
            "dead_letters": dict(sorted(self._dead_letters.items())),
            "versions": {**versions, "models": dict(sorted(self._models.items()))},
        }

    def _inspected(self, inspection: Inspection) -> None:
        for use in inspection.models:
            known = self._models.get(use.model)
            if known is None or known["version"] <= use.version:
                self._models[use.model] = {"version": use.version, "digest": use.digest}
        if inspection.is_deferral or inspection.was_deferred:
            return  # inspected late on purpose: no figure of the line
        if inspection.captured_at_ns and inspection.inspected_at_ns:
            captured_ns = believed_ns(inspection.captured_at_ns, inspection.received_at_ns)
            self._capture_to_inspection.add(captured_ns, inspection.inspected_at_ns)

    def _judged(self, verdict: Verdict) -> None:
        self._verdicts[verdict.verdict] += 1
        part = (verdict.part_id, verdict.visit)
        if verdict.challenge:
            self._challenges[part] = self._challenges.get(part, True) and bool(verdict.challenge_passed)
        self._passed[part] = self._passed.get(part, True) and verdict.action is FailSafe.PASS
        self._parts.decided(PartVisit(verdict.station, verdict.part_id, verdict.visit), verdict.decided_at_ns)

    def _answered(self, result: CommandResult) -> None:
        self._outcomes[result.outcome] += 1
        if result.kind is CommandKind.VERDICT and result.outcome is CommandOutcome.ACKNOWLEDGED:
            self._parts.acknowledged(PartVisit(result.station, result.part_id, result.visit), result.acknowledged_at_ns)

    def _against(self, truth: Truth) -> dict[str, int]:
        """Escape: a bad part that every station passed. Overkill: a good part that one did not pass, for whatever reason.

        A part without a verdict is neither; it is missing from the verdicts.
        """
        judged = [(is_bad, self._passed[part]) for part, is_bad in truth.items() if part in self._passed]
        bad = sum(truth.values())
        return {
            "good": len(truth) - bad,
            "bad": bad,
            "escapes": sum(is_bad and passed for is_bad, passed in judged),
            "overkill": sum(not is_bad and not passed for is_bad, passed in judged),
        }
