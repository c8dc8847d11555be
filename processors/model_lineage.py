"""Where each version comes from and what became of it: the request, the data, the run, the gates, the release, the trial, the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from processors.model_registry import Registry
from processors.model_runs import RUN_STEPS
from processors.model_state import ModelState, RunState, VersionState
from schemas.alerts import RetrainingTrigger
from schemas.records import ModelChange, ModelEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """One version, or a run that led to none (`version` is None). `steps` are the events that had an effect, in their order.

    Of many `training` events only the last one is in `steps`.
    """

    model: str
    version: VersionState | None
    run: RunState | None
    trigger: RetrainingTrigger | None
    steps: tuple[ModelEvent, ...]


@dataclass(frozen=True, slots=True)
class ModelLineage:
    """One model: its state, and the lineage of its versions and runs, newest first."""

    state: ModelState
    lineages: tuple[Lineage, ...]


@dataclass(slots=True)
class _Steps:
    of_versions: dict[int, list[ModelEvent]] = field(default_factory=dict)
    of_runs: dict[str, list[ModelEvent]] = field(default_factory=dict)


def lineages(events: Iterable[ModelEvent], triggers: Iterable[RetrainingTrigger]) -> dict[str, ModelLineage]:
    """Of every model, by name, in the order of names. `events` in the order of the topic."""
    registry, steps = Registry(), dict[str, _Steps]()
    for event in events:
        if not registry.take(event).refused:
            _note(steps.setdefault(event.model, _Steps()), event)
    by_id = {trigger.id: trigger for trigger in triggers}
    return {
        name: ModelLineage(state, _of_model(state, steps.get(name, _Steps()), by_id))
        for name, state in sorted(registry.models.items())
    }


def _note(steps: _Steps, event: ModelEvent) -> None:
    if event.change not in RUN_STEPS:
        steps.of_versions.setdefault(event.version, []).append(event)
        return
    of_run = steps.of_runs.setdefault(event.run, [])
    if event.change is ModelChange.TRAINING and of_run and of_run[-1].change is ModelChange.TRAINING:
        of_run.pop()
    of_run.append(event)


def _of_model(state: ModelState, steps: _Steps, triggers: dict[str, RetrainingTrigger]) -> tuple[Lineage, ...]:
    found = []
    for number, version in state.versions.items():
        run = state.runs.get(version.run)
        of_run = steps.of_runs.get(version.run, [])
        found.append(
            Lineage(
                model=state.model,
                version=version,
                run=run,
                trigger=triggers.get(run.trigger) if run else None,
                steps=(*of_run, *steps.of_versions.get(number, [])),
            )
        )
    found += [
        Lineage(
            model=state.model,
            version=None,
            run=run,
            trigger=triggers.get(run.trigger),
            steps=tuple(steps.of_runs.get(name, [])),
        )
        for name, run in state.runs.items()
        if not run.version
    ]
    return tuple(sorted(found, key=lambda each: each.steps[-1].at_ns if each.steps else 0, reverse=True))
