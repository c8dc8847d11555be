"""Looks on while a line learns: what it says of every part beside the truth, each step of its model, and the end-of-line test's reviews."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, Self

from cli.following import Follower, Seen
from cli.truth import TruthFile
from processors.learning_figures import JudgedPart
from processors.model_registry import Registry
from processors.model_state import PIN
from schemas.alerts import RetrainingTrigger
from schemas.plant import Plant
from schemas.records import AuditEvent, ModelChange, ModelEvent, Review
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT, MODELS, RETRAINING, REVIEWS, VERDICTS, Topic
from schemas.verdicts import Verdict
from simulation.reviewer import reviews_of

AFTER_PROMOTION = 90
"""Parts that the promoted version judges before the run ends: to be compared with what its predecessor judged."""
SAID_EVERY_PARTS = 30
GATHER_MS = 250

Say = Callable[[str], None]
Message = tuple[Topic, str, Any]


class LearningWatch:
    """Of what is written from `since_ms` on (ms since the epoch); call `look` often. It keeps a few values of each part, and a run has a
    given number of parts at most."""

    TOPICS: ClassVar[tuple[Topic, ...]] = (VERDICTS, MODELS, RETRAINING)

    def __init__(
        self, *, plant: Plant, kafka: KafkaSettings, truth: TruthFile, model: str, since_ms: int, say: Say
    ) -> None:
        self.events: list[ModelEvent] = []
        self.triggers: list[RetrainingTrigger] = []
        self._parts: dict[str, JudgedPart] = {}
        self._truth = truth
        self._model = model
        self._say = say
        self._registry = Registry()
        self._follower = Follower(
            plant=plant, settings=kafka, topics=self.TOPICS, from_ms=since_ms, gather_ms=GATHER_MS
        )

    @property
    def parts(self) -> list[JudgedPart]:
        """Every visit that was judged, in the order of the verdicts."""
        return list(self._parts.values())

    @property
    def has_learned(self) -> bool:
        """Whether a promoted version judges parts, and has judged enough of them."""
        champion = self._registry.state(self._model).champion
        if champion == PIN:
            return False
        promoted_ns = self._registry.state(self._model).versions[champion].since_ns
        judged = sum(champion in part.versions and part.arrived_at_ns > promoted_ns for part in self._parts.values())
        return judged >= AFTER_PROMOTION

    def look(self) -> list[Message]:
        """Takes in what happened; returns what the end-of-line test says of it."""
        return self._take(list(self._follower.poll(timeout_ms=0)))

    def finish(self) -> None:
        """Takes in the rest, once nothing is written any more; nobody waits for further reviews."""
        self._take(list(self._follower.drain()))

    def close(self) -> None:
        """Closes the connection."""
        self._follower.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, records: list[Seen]) -> list[Message]:
        self._truth.read_on()  # a part's truth is written when it comes, before anybody can judge it
        messages: list[Message] = []
        for seen in records:
            match seen.message:
                case Verdict(revision=1) if seen.message.id not in self._parts:
                    messages += self._judged(seen.message)
                case ModelEvent() if seen.message.model == self._model:
                    self._stepped(seen.message)
                case RetrainingTrigger():
                    self.triggers.append(seen.message)
                    self._say(f"after part {len(self._parts)}: training is asked for: {_evidence(seen.message)}")
        return messages

    def _judged(self, verdict: Verdict) -> list[Message]:
        visit = (verdict.part_id, verdict.visit)
        marks = self._truth.marks.get(visit)
        if marks is None:
            return []  # a part of another run on this broker
        self._parts[verdict.id] = JudgedPart(
            arrived_at_ns=verdict.arrived_at_ns,
            decided_at_ns=verdict.decided_at_ns,
            verdict=verdict.verdict,
            versions=frozenset(use.version for use in verdict.models if use.model == self._model),
            is_bad=bool(marks),
            lamp_failed=self._truth.lamp_ratios[visit] > 0,
        )
        if len(self._parts) % SAID_EVERY_PARTS == 0:
            newest = list(self._parts.values())[-SAID_EVERY_PARTS:]
            escapes, overkill = sum(part.escaped for part in newest), sum(part.overkilled for part in newest)
            self._say(
                f"{len(self._parts)} parts; of the last {SAID_EVERY_PARTS}: {escapes} escapes, {overkill} overkill"
            )
        reviews = reviews_of(verdict, marks, now_ns=time.time_ns())
        return [message for review in reviews for message in _messages(review)]

    def _stepped(self, event: ModelEvent) -> None:
        self.events.append(event)
        step = self._registry.take(event)
        if event.change is not ModelChange.TRAINING:
            version = f" version {event.version}" if event.version else ""
            refused = f" (no effect: {step.refused})" if step.refused else ""
            self._say(
                f"after part {len(self._parts)}: {event.change.value}{version}: {event.detail or event.run}{refused}"
            )
            for gate in event.gates:
                if not gate.passed:
                    self._say(f"    {gate.name} {gate.value:.4g}, limit {gate.limit:.4g}: {gate.detail}")


def _messages(review: Review) -> list[Message]:
    """The review and its audit event, as `linesight review` writes them."""
    audit = AuditEvent(
        id=f"{review.reviewer}/review/{review.id}/{review.reviewed_at_ns}",
        actor=review.reviewer,
        action="review",
        subject=review.id,
        at_ns=review.reviewed_at_ns,
        detail=review.verdict.value,
    )
    return [(REVIEWS, review.station, review), (AUDIT, review.reviewer, audit)]


def _evidence(trigger: RetrainingTrigger) -> str:
    shown = "; ".join(
        f"{item.statistic} {item.observed:.3g} (threshold {item.threshold:.3g}, n {item.sample_size})"
        for item in trigger.evidence
    )
    return f"{trigger.cause}: {shown}"
