"""Training runs: at most one of a model at a time, every step taken once, and which request for training is still to be answered.

Two requests at once are answered by one run: what is frozen after both were made has the data of both. A request that comes later,
or while a version is on trial, waits until the run and the trial are over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from processors.model_state import ModelState, RunState, RunStep
from schemas.alerts import RetrainingTrigger
from schemas.records import ModelChange, ModelEvent

KEPT_RUNS = 1_000
PROGRESS = "progress_ratio"
"""The figure of a `training` event that says how far it is, 0 to 1."""

RUN_STEPS: dict[ModelChange, RunStep] = {
    ModelChange.RUN_STARTED: RunStep.STARTED,
    ModelChange.DATA_FROZEN: RunStep.FROZEN,
    ModelChange.TRAINING: RunStep.TRAINING,
    ModelChange.EVALUATED: RunStep.EVALUATED,
    ModelChange.RUN_ENDED: RunStep.ENDED,
}
"""Events of a run, and how far it is after them."""

_ORDER = list(RunStep)


def run_step(state: ModelState, event: ModelEvent) -> ModelState | str:
    """The state after a step of a run, or why it has no effect."""
    if event.change is ModelChange.RUN_STARTED:
        return _started(state, event)
    run = state.runs.get(event.run)
    if run is None:
        return f"run {event.run} was never started"
    if not run.is_open:
        return f"run {event.run} is over ({run.step})"
    step = RUN_STEPS[event.change]
    if _ORDER.index(step) < _ORDER.index(run.step) or (step is run.step and step is not RunStep.TRAINING):
        return f"run {event.run} is past it ({run.step})"
    progress = event.figures.get(PROGRESS, 0.0)
    if step is RunStep.TRAINING and step is run.step and progress <= run.progress_ratio:
        return f"run {event.run} is further already ({run.progress_ratio:.0%})"
    after = replace(run, step=step, changed_at_ns=event.at_ns, detail=event.detail)
    match step:
        case RunStep.FROZEN:
            after = replace(after, dataset=event.dataset, frozen_at_ns=event.at_ns)
        case RunStep.TRAINING:
            after = replace(after, progress_ratio=progress)
        case RunStep.EVALUATED:
            after = replace(after, figures=event.figures, gates=event.gates, progress_ratio=1.0)
        case _:
            pass
    return replace(state, runs={**state.runs, run.run: after})


def run_released(runs: Mapping[str, RunState], event: ModelEvent) -> Mapping[str, RunState]:
    """The runs after a version was released: the run that made it is over."""
    run = runs.get(event.run)
    if run is None or not run.is_open:
        return runs
    return {
        **runs,
        run.run: replace(
            run, step=RunStep.RELEASED, changed_at_ns=event.at_ns, version=event.version, progress_ratio=1.0
        ),
    }


def next_trigger(state: ModelState, triggers: Iterable[RetrainingTrigger]) -> RetrainingTrigger | None:
    """The oldest request that no run answers, when a run may begin; None while one goes on or a version is on trial."""
    if state.open_run is not None or state.candidate is not None:
        return None
    waiting = (each for each in triggers if each.model == state.model and not _is_answered(state, each))
    return min(waiting, key=lambda each: (each.fired_at_ns, each.id), default=None)


def _is_answered(state: ModelState, trigger: RetrainingTrigger) -> bool:
    """A run that ended before it had data answers only the request that started it."""
    return any(
        run.trigger == trigger.id or (run.dataset and trigger.fired_at_ns <= run.frozen_at_ns)
        for run in state.runs.values()
    )


def _started(state: ModelState, event: ModelEvent) -> ModelState | str:
    if event.run in state.runs:
        return f"run {event.run} was started already"
    if state.open_run is not None:
        return f"run {state.open_run.run} goes on: one at a time"
    if state.candidate is not None:
        return f"version {state.candidate.version} is on trial: a run begins after it"
    run = RunState(
        run=event.run,
        trigger=event.trigger,
        step=RunStep.STARTED,
        started_at_ns=event.at_ns,
        changed_at_ns=event.at_ns,
        detail=event.detail,
    )
    kept = dict(list(state.runs.items())[-(KEPT_RUNS - 1) :])
    return replace(state, runs={**kept, event.run: run})
