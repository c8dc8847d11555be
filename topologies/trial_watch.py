"""Trials on a running line: follows what live parts say of each version on trial, and takes the step that the rules ask for.

A step is a record on `models` with its audit event; the line (`followed_models`) does the rest. Before a version is to judge parts,
and before the line goes back to one, Triton is asked whether it can serve it. Everything that is decided follows from the topics:
a process that is killed and started again reads them again and comes to the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from aiokafka.errors import KafkaError

from processors.candidate_rules import Decision, Phase, decide
from processors.learning_plan import Watch, followed_models, next_shadow, views_of, watch_for
from processors.model_state import PIN, ModelState
from processors.model_steps import audit_of, version_step
from processors.trial_evidence import TrialEvidence
from schemas.errors import ConfigurationError, ServiceAway
from schemas.learning_settings import LearningSettings
from schemas.patience import patiently
from schemas.plant import Plant
from schemas.records import ModelChange, ModelEvent
from schemas.settings import KafkaSettings
from schemas.telemetry import AttemptRepeated, Noticed, Stage
from schemas.topics import AUDIT, MODELS
from topologies.model_log import ModelLog
from topologies.producer import Outgoing, Producer
from topologies.trial_reader import TrialReader
from topologies.version_check import prove_version

BY = "trainer"
REST_S = 0.25
DECIDE_EVERY_S = 1.0
RETRY_S = 15.0
"""A step that Triton stands against is tried again so often."""

Prove = Callable[[str, int], None]


class TrialWatch:
    """All trials of a plant. `prove` asks Triton about a version (`version_check.prove_version`)."""

    def __init__(
        self,
        *,
        plant: Plant,
        limits: LearningSettings,
        log: ModelLog,
        producer: Producer,
        stage: Stage,
        prove: Prove = prove_version,
    ) -> None:
        self._plant = plant
        self._limits = limits
        self._log = log
        self._producer = producer
        self._stage = stage
        self._prove = prove
        self._models = {model: views_of(plant, model) for model in followed_models(plant)}
        self._trials: dict[Watch, TrialEvidence] = {}
        self._over: set[Watch] = set()
        self._again_s: dict[str, float] = {}
        self._decided_s = 0.0
        self._steps = stage.counter("trial_steps", "Steps that the rules took.", "change")
        for change in (
            ModelChange.SHADOWED,
            ModelChange.CANARIED,
            ModelChange.PROMOTED,
            ModelChange.REJECTED,
            ModelChange.ROLLED_BACK,
        ):
            self._steps.labels(change.value)

    async def run(self, kafka: KafkaSettings) -> None:
        """Watches until cancelled; waits for a broker that is away."""
        await self._log.began.wait()
        watch = partial(self._watch, kafka)
        await patiently(watch, stage=self._stage, service="broker", away=(KafkaError, OSError))

    async def _watch(self, kafka: KafkaSettings) -> None:
        reader = TrialReader(plant=self._plant, kafka=kafka)
        try:
            await reader.start()
            self._trials = {}  # what was read before a broken connection is read again
            while True:
                if await self._plan(reader):
                    await self._follow(reader)
                else:
                    await asyncio.sleep(REST_S)
        finally:
            await reader.stop()

    async def _plan(self, reader: TrialReader) -> bool:
        """Begins and ends trials as the registry says; whether any goes on."""
        now_ns = time.time_ns()
        wanted = []
        for model in self._models:
            state = self._log.registry.state(model)
            watch = watch_for(state, self._limits, views=self._models[model], now_ns=now_ns)
            if watch is not None and watch not in self._over:
                wanted.append(watch)
            elif (version := next_shadow(state)) is not None and self._may_try(model):
                await self._say(
                    state, version, ModelChange.SHADOWED, Decision(change=None, reason="released by a training run")
                )
        if any(watch not in self._trials for watch in wanted):
            kept = {
                watch: self._trials.get(watch) or TrialEvidence(watch.trial, from_ns=watch.from_ns) for watch in wanted
            }
            await reader.read_from(min(watch.from_ns for watch in wanted))
            self._trials = kept
        self._trials = {watch: self._trials[watch] for watch in wanted}
        self._over = {
            watch for watch in self._over if watch.trial.version == self._log.registry.state(watch.trial.model).champion
        }
        return bool(wanted)

    async def _follow(self, reader: TrialReader) -> None:
        for message in await reader.next():
            for evidence in self._trials.values():
                evidence.take(message)
        now_s = time.monotonic()
        if now_s - self._decided_s < DECIDE_EVERY_S or not await reader.is_up_to_date():
            return
        self._decided_s = now_s
        for watch, evidence in list(self._trials.items()):
            decision = decide(watch.phase, evidence, self._limits, now_ns=time.time_ns())
            if decision.change is not None:
                await self.take_step(watch, decision)
            elif decision.over:
                self._over.add(watch)
                self._stage.log.info("probation_passed", model=watch.trial.model, version=watch.trial.version)

    async def take_step(self, watch: Watch, decision: Decision) -> None:
        """Takes the step, if Triton can serve what is to judge parts afterwards."""
        model, version, change = watch.trial.model, watch.trial.version, decision.change
        assert change is not None, "decided"
        if not self._may_try(model):
            return
        state = self._log.registry.state(model)
        try:
            for number in self._to_be_served(watch, change, state):
                await asyncio.to_thread(self._prove, model, number)
        except ServiceAway as away:
            self._wait(model)
            self._stage.emit(AttemptRepeated(service="triton", detail=str(away), attempt=1))
            return
        except ConfigurationError as unserved:
            if change is ModelChange.ROLLED_BACK:  # a line without a model is worse than one with a doubtful one
                self._wait(model)
                self._stage.emit(Noticed(what="rollback_unserved", subject=f"{model}/{version}", detail=str(unserved)))
                return
            change = ModelChange.REJECTED if watch.phase is Phase.SHADOW else ModelChange.ROLLED_BACK
            decision = Decision(change=change, reason=str(unserved), gates=decision.gates)
        await self._say(state, version, change, decision)

    def _to_be_served(self, watch: Watch, change: ModelChange, state: ModelState) -> tuple[int, ...]:
        if change in (ModelChange.CANARIED, ModelChange.PROMOTED):
            return (watch.trial.version,)
        if watch.phase is Phase.PROBATION:
            back = ([PIN, *state.champions])[-2]
            return (back,) if back != PIN else self._pinned(state.model)
        return ()

    def _pinned(self, model: str) -> tuple[int, ...]:
        pins = {
            pin.version
            for recipe in self._plant.recipes
            for each in recipe.inspections
            for pin in each.models
            if pin.name == model
        }
        return tuple(sorted(pins))

    async def _say(self, state: ModelState, version: int, change: ModelChange, decision: Decision) -> None:
        """Writes the step and its audit event, and returns when the log has it."""
        share_ratio = self._limits.canary_share_ratio if change is ModelChange.CANARIED else 0.0
        event: ModelEvent = version_step(
            model=state.model,
            version=version,
            digest=state.versions[version].digest,
            change=change,
            at_ns=time.time_ns(),
            by=BY,
            detail=decision.reason,
            gates=decision.gates,
            share_ratio=share_ratio,
            beside=_beside(state, version),
        )
        await self._producer.send(
            [
                Outgoing(topic=MODELS, key=event.model, message=event),
                Outgoing(topic=AUDIT, key=BY, message=audit_of(event)),
            ]
        )
        self._steps.labels(change.value).inc()
        self._stage.log.info("trial_step", model=event.model, version=version, change=change.value, reason=event.detail)
        await self._log.has(event.id)

    def _may_try(self, model: str) -> bool:
        return time.monotonic() >= self._again_s.get(model, 0.0)

    def _wait(self, model: str) -> None:
        self._again_s[model] = time.monotonic() + RETRY_S


def _beside(state: ModelState, version: int) -> int:
    """The version that judges the other parts; of a champion, the one that it is taken back to."""
    return state.champion if state.champion != version else ([PIN, *state.champions])[-2]
