"""What a run came to: its topics read from where it began to where they end."""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from processors.distinct import Distinct, Sighting
from processors.ledger import LEDGER_TOPICS, Ledger
from processors.ledger_findings import LedgerReport
from processors.summary import SUMMARY_TOPICS, Summary
from schemas.alerts import Alert, RetrainingTrigger
from schemas.object_store import ObjectMissing, open_store, reference_key
from schemas.plant import Plant
from schemas.reasons import VerdictValue
from schemas.settings import KafkaSettings, ObjectStoreSettings
from schemas.topics import FRAMES, Topic
from schemas.verdicts import Verdict, ViewResult
from topologies.reconciliation import enter, name_frames
from topologies.topic_reader import Place, Span, TopicReader

READ_TOPICS: tuple[Topic, ...] = tuple(dict.fromkeys((*LEDGER_TOPICS, *SUMMARY_TOPICS)))
REJECTED_KEPT = 400
EVENTS_KEPT = 200
KEPT_MESSAGES = (Verdict, Alert, RetrainingTrigger)

TrueClasses = Mapping[tuple[str, int], tuple[str, ...]]
"""(part_id, visit) -> true defect classes, `()` for a good part."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Where topics stood when a run began."""

    ends: Mapping[Place, Span]
    began_s: float


@dataclass(kw_only=True)
class Kept:
    """What the pictures and charts of a report need, in little memory: 9 bytes a part, and a bounded number of messages.

    `arrived_at_ns` and `not_ok` (0 or 1) run side by side over the decided parts. Rejected parts are thinned evenly when they
    become many.
    """

    arrived_at_ns: array[int] = field(default_factory=lambda: array("q"))
    not_ok: bytearray = field(default_factory=bytearray)
    confusion: dict[tuple[bool, VerdictValue], int] = field(default_factory=dict)
    rejected: list[Verdict] = field(default_factory=list)
    rejected_count: int = 0
    alerts: list[Alert] = field(default_factory=list)
    triggers: list[RetrainingTrigger] = field(default_factory=list)
    _every: int = 1

    def add(self, message: Any, truth: TrueClasses) -> None:
        """Takes in a message once; the caller removes duplicates."""
        match message:
            case Verdict(revision=1):
                self._verdict(message, truth)
            case Alert() if len(self.alerts) < EVENTS_KEPT:
                self.alerts.append(message)
            case RetrainingTrigger() if len(self.triggers) < EVENTS_KEPT:
                self.triggers.append(message)

    def _verdict(self, verdict: Verdict, truth: TrueClasses) -> None:
        classes = truth.get((verdict.part_id, verdict.visit))
        if verdict.challenge:
            return
        if classes is not None:
            key = (bool(classes), verdict.verdict)
            self.confusion[key] = self.confusion.get(key, 0) + 1
        if verdict.verdict is not VerdictValue.NOT_DECIDABLE:
            self.arrived_at_ns.append(verdict.arrived_at_ns)
            self.not_ok.append(verdict.verdict is VerdictValue.NOT_OK)
        if verdict.verdict is VerdictValue.OK:
            return
        if self.rejected_count % self._every == 0:
            self.rejected.append(verdict)
        self.rejected_count += 1
        if len(self.rejected) > REJECTED_KEPT:
            self.rejected = self.rejected[::2]
            self._every *= 2


@dataclass(kw_only=True)
class Outcome:
    """A finished run: the contract's report, and what `report.html` shows besides."""

    report: dict[str, Any]
    ledger: LedgerReport
    kept: Kept
    latencies_ms: list[float]
    plant: Plant
    plant_dir: Path
    truth: TrueClasses

    def reference(self, verdict: Verdict, view: ViewResult) -> bytes | None:
        """The encoded reference image that a view was compared with; None where it is not known any more."""
        recipe = self.plant.recipe(verdict.recipe)
        named = next((item.reference for item in recipe.views if item.name == view.view), None) if recipe else None
        if named is not None:
            return (self.plant_dir / named).read_bytes()
        if view.reference is None:
            return None
        try:
            return open_store(ObjectStoreSettings()).get(reference_key(view.reference))
        except ObjectMissing:
            return None


async def mark(plant: Plant, kafka: KafkaSettings) -> Mark:
    """Where the topics stand now: a run that begins here ignores what was there before."""
    async with TopicReader(plant=plant, kafka=kafka) as reader:
        return Mark(ends=await reader.spans((*READ_TOPICS, FRAMES)), began_s=time.monotonic())


def account(
    *, plant: Plant, plant_dir: Path, kafka: KafkaSettings, begin: Mark, truth: TrueClasses, versions: Mapping[str, str]
) -> Outcome:
    """Reads everything since `begin` and makes the outcome. The stages must have stopped: nothing is open any more."""
    return asyncio.run(_account(plant, plant_dir, kafka, begin, truth, versions))


async def _account(
    plant: Plant, plant_dir: Path, kafka: KafkaSettings, begin: Mark, truth: TrueClasses, versions: Mapping[str, str]
) -> Outcome:
    ledger, summary, kept = Ledger(), Summary(plant=plant.plant), Kept()
    seen = Distinct()
    async with TopicReader(plant=plant, kafka=kafka) as reader:
        frames = _since(begin, await reader.spans([FRAMES]))
        async for stored in reader.read(READ_TOPICS, _since(begin, await reader.spans(READ_TOPICS))):
            enter(ledger, stored)
            summary.add(stored.topic, stored.message, at_ms=stored.at_ms)
            if isinstance(stored.message, KEPT_MESSAGES) and seen.see(stored.message.id, ()) is Sighting.NEW:
                kept.add(stored.message, truth)
        await name_frames(reader, ledger, frames)
    found = ledger.report(now_ns=time.time_ns(), settle_ms=0)
    report = summary.report(
        duration_s=time.monotonic() - begin.began_s,
        ledger=found,
        truth={part: bool(classes) for part, classes in truth.items()},
        versions={"linesight": version("linesight"), **versions},
    )
    report["load"] = machine_load()
    return Outcome(
        report=report,
        ledger=found,
        kept=kept,
        latencies_ms=summary.acknowledgement_latencies_ms,
        plant=plant,
        plant_dir=plant_dir,
        truth=truth,
    )


def _since(begin: Mark, spans: Mapping[Place, Span]) -> dict[Place, Span]:
    return {place: Span(begin.ends[place].end, span.end) for place, span in spans.items()}


def machine_load() -> dict[str, Any]:
    """Load of the machine beside the times measured on it."""
    one, five, _ = os.getloadavg()
    cores = os.cpu_count() or 1
    return {
        "load_1min": round(one, 2),
        "load_5min": round(five, 2),
        "cores": cores,
        "memory_bytes": psutil.virtual_memory().total,
        "text": f"{one:.1f} over 1 min, {five:.1f} over 5 min, on {cores} cores",
    }
