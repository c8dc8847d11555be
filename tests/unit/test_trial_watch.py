"""Before a version judges parts, and before the line goes back to one, Triton is asked; what it says decides whether a step is taken."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from followed_disc import plant
from model_events import MODEL, version_event

from processors.candidate_rules import Decision, Phase
from processors.learning_plan import Watch, views_of, watch_for
from processors.model_registry import Registry
from processors.model_state import Standing
from schemas.errors import ConfigurationError, ServiceAway
from schemas.learning_settings import LearningSettings
from schemas.recipes import ModelPin
from schemas.records import AuditEvent, ModelChange, ModelEvent
from schemas.telemetry import Stage
from schemas.topics import AUDIT, MODELS
from topologies.producer import Outgoing
from topologies.trial_watch import BY, TrialWatch

C = ModelChange
PLANT = plant(ModelPin(name=MODEL, version=1, follow=True))
LIMITS = LearningSettings(canary_share_ratio=0.25)


class Log:
    """Stands in for the topic: what is sent to it is read at once."""

    def __init__(self, *events: ModelEvent) -> None:
        self.registry = Registry(events)
        self.sent: list[ModelEvent | AuditEvent] = []

    async def has(self, event_id: str) -> None:
        assert event_id in [each.id for each in self.sent]

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        for each in outgoing:
            assert each.topic is (MODELS if isinstance(each.message, ModelEvent) else AUDIT)
            self.sent.append(each.message)
            if isinstance(each.message, ModelEvent):
                assert not self.registry.take(each.message).refused


class Triton:
    """Says of each version whether it can serve it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[tuple[str, int]] = []

    def __call__(self, model: str, version: int) -> None:
        self.asked.append((model, version))
        if self.error is not None:
            raise self.error


def watching(log: Log, triton: Triton) -> tuple[TrialWatch, Watch, Stage]:
    stage = Stage("trainer")
    trials = TrialWatch(
        plant=PLANT, limits=LIMITS, log=log, producer=log, stage=stage, prove=triton  # type: ignore[arg-type]  # stand-ins
    )  # fmt: skip
    watch = watch_for(log.registry.state(MODEL), LIMITS, views=views_of(PLANT, MODEL), now_ns=10)
    assert watch is not None
    return trials, watch, stage


def decision(change: ModelChange) -> Decision:
    return Decision(change=change, reason="the evidence")


SHADOW = (version_event(C.RELEASED, 2, 1), version_event(C.SHADOWED, 2, 2))
CANARY = (*SHADOW, version_event(C.CANARIED, 2, 3, share_ratio=0.1))
CHAMPION = (*CANARY, version_event(C.PROMOTED, 2, 4))


async def test_a_step_is_taken_with_its_audit_event_when_triton_serves_the_version() -> None:
    log, triton = Log(*SHADOW), Triton()
    trials, watch, _ = watching(log, triton)
    await trials.take_step(watch, decision(C.CANARIED))
    event, audit = log.sent
    assert isinstance(event, ModelEvent)
    assert (event.change, event.version, event.share_ratio, event.by, event.detail) == (
        C.CANARIED,
        2,
        0.25,
        BY,
        "the evidence",
    )
    assert isinstance(audit, AuditEvent)
    assert audit.action == "model_canaried"
    assert triton.asked == [(MODEL, 2)]


@pytest.mark.parametrize(
    ("events", "asked_for", "taken"),
    [(SHADOW, C.CANARIED, Standing.REJECTED), (CANARY, C.PROMOTED, Standing.ROLLED_BACK)],
)
async def test_a_version_that_triton_refuses_is_let_go(
    events: tuple[ModelEvent, ...], asked_for: ModelChange, taken: Standing
) -> None:
    log = Log(*events)
    trials, watch, _ = watching(log, Triton(ConfigurationError("cannot load it")))
    await trials.take_step(watch, decision(asked_for))
    state = log.registry.state(MODEL)
    assert (state.versions[2].standing, state.champion) == (taken, 0)
    assert "cannot load it" in log.sent[0].detail


async def test_while_triton_is_away_nothing_follows() -> None:
    log, triton = Log(*SHADOW), Triton(ServiceAway("no Triton"))
    trials, watch, _ = watching(log, triton)
    await trials.take_step(watch, decision(C.CANARIED))
    await trials.take_step(watch, decision(C.CANARIED))
    assert log.sent == []
    assert len(triton.asked) == 1, "asked again after a pause"


async def test_the_line_goes_back_to_what_triton_serves_and_else_stays_where_it_is() -> None:
    log, triton = Log(*CHAMPION), Triton(ConfigurationError("version 1 is gone"))
    trials, watch, stage = watching(log, triton)
    assert watch.phase is Phase.PROBATION
    await trials.take_step(watch, decision(C.ROLLED_BACK))
    assert (log.sent, triton.asked) == ([], [(MODEL, 1)]), "the recipe's pin is what it goes back to"
    assert stage.registry.get_sample_value("linesight_trainer_noticed_total", {"what": "rollback_unserved"}) == 1
    log, triton = Log(*CHAMPION), Triton()
    trials, watch, _ = watching(log, triton)
    await trials.take_step(watch, decision(C.ROLLED_BACK))
    assert log.registry.state(MODEL).versions[2].standing is Standing.ROLLED_BACK


async def test_a_bad_version_that_judges_nothing_for_good_is_let_go_without_asking_triton() -> None:
    log, triton = Log(*CANARY), Triton(ServiceAway("no Triton"))
    trials, watch, _ = watching(log, triton)
    await trials.take_step(watch, decision(C.ROLLED_BACK))
    assert log.registry.state(MODEL).versions[2].standing is Standing.ROLLED_BACK
    assert triton.asked == []
