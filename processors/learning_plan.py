"""What is to be done about each model that recipes follow: which trial goes on, which version begins one, which run is due.

All of it follows from the registry, the requests and the time: a restart comes to the same plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from processors.candidate_rules import Phase
from processors.model_runs import next_trigger
from processors.model_state import PIN, ModelState, Standing
from processors.trial_evidence import Trial
from schemas.alerts import RetrainingTrigger
from schemas.learning_settings import LearningSettings
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.recipes import TrainedInspection

_LET_GO = (Standing.REJECTED, Standing.ROLLED_BACK)
DAY_NS = 24 * 3_600_000 * NS_PER_MS
REFERENCE_NS = 3_600_000 * NS_PER_MS
"""A new champion is compared with what judged in the hour before it was promoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A trial to be followed. Of the other versions, what they judged from `from_ns` on is compared with."""

    phase: Phase
    trial: Trial
    from_ns: int


def followed_models(plant: Plant) -> tuple[str, ...]:
    """Models that some recipe follows, by name."""
    pins = {pin.name for recipe in plant.recipes for each in recipe.inspections for pin in each.models if pin.follow}
    return tuple(sorted(pins))


def trained_models(plant: Plant) -> tuple[str, ...]:
    """Of these, the ones that `linesight train` can make."""
    kinds = [each for recipe in plant.recipes for each in recipe.inspections if isinstance(each, TrainedInspection)]
    return tuple(sorted({each.model.name for each in kinds if each.model.follow}))


def views_of(plant: Plant, model: str) -> frozenset[tuple[str, str]]:
    """What the model inspects, each as (recipe, view)."""
    return frozenset(
        (recipe.key, view.name)
        for recipe in plant.recipes
        for view in recipe.views
        if any(pin.name == model for pin in recipe.inspection_of(view).models)
    )


def watch_for(
    state: ModelState, limits: LearningSettings, *, views: frozenset[tuple[str, str]], now_ns: int
) -> Watch | None:
    """The trial that goes on: of the candidate, else of a champion that was promoted within `trial_limit_ms`."""
    let_go = frozenset(number for number, each in state.versions.items() if each.standing in _LET_GO)
    candidate = state.candidate
    if candidate is not None:
        phase = Phase.SHADOW if candidate.standing is Standing.SHADOW else Phase.CANARY
        trial = Trial(
            model=state.model,
            version=candidate.version,
            since_ns=candidate.since_ns,
            share_ratio=candidate.share_ratio,
            views=views,
            let_go=let_go,
        )
        return Watch(phase=phase, trial=trial, from_ns=candidate.since_ns)
    if state.champion == PIN or _is_reinstated(state):
        return None
    since_ns = state.versions[state.champion].since_ns
    if now_ns - since_ns > limits.trial_limit_ms * NS_PER_MS:
        return None
    trial = Trial(
        model=state.model, version=state.champion, since_ns=since_ns, share_ratio=1.0, views=views, let_go=let_go
    )
    return Watch(phase=Phase.PROBATION, trial=trial, from_ns=since_ns - REFERENCE_NS)


def _is_reinstated(state: ModelState) -> bool:
    """Whether the champion came back by a rollback: beside the version that was too strict it would look blind, and be taken back, too."""
    since_ns = state.versions[state.champion].since_ns
    return any(each.standing is Standing.ROLLED_BACK and each.since_ns == since_ns for each in state.versions.values())


def next_shadow(state: ModelState) -> int | None:
    """The newest version that a run released and that is on no trial yet, above the champion. What a person brought, a person takes on."""
    if state.candidate is not None:
        return None
    waiting = [
        each.version
        for each in state.versions.values()
        if each.standing is Standing.RELEASED and each.run and each.version > state.champion
    ]
    return max(waiting, default=None)


def next_run(
    states: Mapping[str, ModelState],
    triggers: Iterable[RetrainingTrigger],
    limits: LearningSettings,
    *,
    models: Iterable[str],
    now_ns: int,
) -> str | None:
    """The model that is to be trained now: one whose run was cut off, else that of the oldest request whose turn has come.

    A request waits while its model is on trial, until `run_interval_ms` after the last run began, and for the next day where
    `runs_per_day` are spent.
    """
    known = [states.get(name) or ModelState(model=name) for name in models]
    cut_off = next((state.model for state in known if state.open_run is not None), None)
    if cut_off is not None:
        return cut_off
    asked = list(triggers)
    due = [
        trigger
        for state in known
        if _may_begin(state, limits, now_ns=now_ns) and (trigger := next_trigger(state, asked)) is not None
    ]
    return min(due, key=lambda each: (each.fired_at_ns, each.id)).model if due else None


def _may_begin(state: ModelState, limits: LearningSettings, *, now_ns: int) -> bool:
    """A time that lies ahead, by a wrong clock, counts as far off as one behind: it must not hold up a model for years."""
    begun = [abs(now_ns - run.started_at_ns) for run in state.runs.values()]
    if any(age_ns < limits.run_interval_ms * NS_PER_MS for age_ns in begun):
        return False
    return sum(age_ns < DAY_NS for age_ns in begun) < limits.runs_per_day
