"""Decisions out, in their order: the verdict first, what follows from it once the verdict is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from prometheus_client import Counter, Histogram

from processors.judgements import Decision, Refusal
from schemas.telemetry import Stage
from schemas.topics import AUDIT, COMMANDS, DEFECTS, VERDICTS
from schemas.verdicts import Verdict
from topologies.background import Background
from topologies.line_runner import Outgoing, Producer, Record, refuse

BATCH = 500
"""Decisions sent at once: the verdicts that a crash can cut off from what follows (`JudgeLimits.recalled_verdicts` is more)."""

Sendable = Decision[Record] | Refusal[Record]


class JudgeMetrics:
    """What the judge shows besides what every stage shows."""

    def __init__(self, stage: Stage) -> None:
        self.verdicts: Counter = stage.counter("verdicts", "Verdicts on the topic.", "verdict")
        self.trigger_to_verdict: Histogram = stage.histogram(
            "trigger_to_verdict_seconds", "From the PLC's trigger to the decision."
        )
        self.open_parts = stage.gauge("open_parts", "Parts that have arrived and have no verdict yet.")
        self.early_inspections = stage.gauge("early_inspections", "Inspections that wait for their part to arrive.")


class DecisionSender:
    """The sending end of one partition. `put` never waits; what is unsent is bounded by the runner's budget."""

    def __init__(self, *, producer: Producer, stage: Stage, metrics: JudgeMetrics, background: Background) -> None:
        self._producer = producer
        self._stage = stage
        self._metrics = metrics
        self._background = background
        self._unsent: list[Sendable] = []
        self._is_sending = False
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, item: Sendable) -> None:
        """Sends `item` after everything that was put before it."""
        self._unsent.append(item)
        self._idle.clear()
        if not self._is_sending:
            self._is_sending = True
            self._background.spawn(self._send_all())

    async def settled(self) -> None:
        """Returns when everything is acknowledged and its records are finished."""
        await self._idle.wait()

    async def _send_all(self) -> None:
        try:
            while self._unsent:
                batch, self._unsent = self._unsent[:BATCH], self._unsent[BATCH:]
                await self._send(batch)
        finally:  # an error stops the stage; nobody may wait for what will not come
            self._is_sending = False
            self._idle.set()

    async def _send(self, batch: Sequence[Sendable]) -> None:
        decisions = [item for item in batch if isinstance(item, Decision)]
        new = [decision for decision in decisions if not decision.is_on_topic]
        await self._producer.send([_outgoing_verdict(decision) for decision in new])
        for decision in new:
            self._metrics.verdicts.labels(decision.verdict.verdict.value).inc()
            seconds = (decision.verdict.decided_at_ns - decision.triggered_at_ns) / 1e9
            self._metrics.trigger_to_verdict.observe(max(0.0, seconds))
        await self._producer.send([message for decision in decisions for message in _consequences(decision)])
        for item in batch:
            if isinstance(item, Refusal):
                await refuse(item.source, item.refused, stage=self._stage, producer=self._producer)
                item.source.finish()
            else:
                for record in item.sources:
                    record.finish()


def defect_messages(verdict: Verdict, defects: Sequence[object], traceparent: bytes | None) -> list[Outgoing]:
    """The defect events of a verdict, ready to be sent."""
    return [Outgoing(topic=DEFECTS, key=verdict.station, message=event, traceparent=traceparent) for event in defects]


def _outgoing_verdict(decision: Decision[Record]) -> Outgoing:
    return Outgoing(
        topic=VERDICTS,
        key=decision.verdict.station,
        message=decision.verdict,
        traceparent=_traceparent(decision),
    )


def _consequences(decision: Decision[Record]) -> list[Outgoing]:
    """The command first: a machine waits for it."""
    trace, station = _traceparent(decision), decision.verdict.station
    commands = [decision.command] if decision.command is not None else []
    audit = decision.audit
    return [
        *(Outgoing(topic=COMMANDS, key=station, message=command, traceparent=trace) for command in commands),
        *defect_messages(decision.verdict, decision.defects, trace),
        *([] if audit is None else [Outgoing(topic=AUDIT, key=audit.actor, message=audit, traceparent=trace)]),
    ]


def _traceparent(decision: Decision[Record]) -> bytes | None:
    """The arrival's: what caused everything about the part."""
    return decision.sources[0].traceparent if decision.sources else None
