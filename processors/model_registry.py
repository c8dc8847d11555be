"""The registry of models, from nothing but the topic `models`: what each step does, and which steps do nothing.

    released -> shadow -> canary -> champion -> former
                   |         |          |
               rejected   rejected   rolled_back, and the champion before it (or the recipe's pin) judges again

A step that does not fit where the version stands has no effect, and the reason is told. So the log decides: of two that write at
the same time the first one wins, and everybody who reads the log comes to the same state. A record that is read twice does nothing.

At most one version of a model is on trial; shadow and canary may be left out. A rollback takes the trial away, too: it was measured
against a champion that was wrong.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from processors.learned.settings import DIGEST, SETTINGS
from processors.model_runs import RUN_STEPS, run_released, run_step
from processors.model_state import NEVER_PROMOTED, ModelState, Standing, VersionState
from schemas.recipes import ModelPin
from schemas.records import ModelChange, ModelEvent

KEPT_CHAMPIONS = 100
"""So far back can the line be rolled back."""

KEPT_IDS = 10_000
"""Of so many records the repetition is recognised: years of them."""


@dataclass(frozen=True, slots=True)
class Step:
    """The state after an event. `refused` says why it had no effect; then the state is the one before it."""

    state: ModelState
    refused: str = ""


class Registry:
    """All models, after the records that it took in the order of the topic."""

    def __init__(self, events: Iterable[ModelEvent] = ()) -> None:
        self._states: dict[str, ModelState] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        for event in events:
            self.take(event)

    @property
    def models(self) -> Mapping[str, ModelState]:
        """Every model that somebody has heard of, by name."""
        return self._states

    def state(self, model: str) -> ModelState:
        """The state of a model; that of one that nobody has heard of where there is none."""
        return self._states.get(model) or ModelState(model=model)

    def told(self, pin: ModelPin) -> Mapping[str, str]:
        """What its release said of a version, by the names that parameters of a served configuration have; empty where it said nothing."""
        version = self.state(pin.name).versions.get(pin.version)
        if version is None:
            return {}
        said = {SETTINGS: version.settings, DIGEST: version.digest}
        return {name: text for name, text in said.items() if text}

    def take(self, event: ModelEvent) -> Step:
        """Takes the next record. One that had no effect has none either when it is read again, whatever became of the model."""
        if event.id in self._seen:
            return Step(self.state(event.model), "read before")
        self._seen[event.id] = None
        if len(self._seen) > KEPT_IDS:
            self._seen.popitem(last=False)
        step = stepped(self.state(event.model), event)
        self._states[event.model] = step.state
        return step


def stepped(state: ModelState, event: ModelEvent) -> Step:
    """The state after one more event of this model."""
    if event.change in RUN_STEPS:
        return _as_step(state, run_step(state, event))
    if event.change is ModelChange.RELEASED:
        return _as_step(state, _released(state, event))
    version = state.versions.get(event.version)
    if version is None:
        return Step(state, f"version {event.version} was never released")
    return _as_step(state, _RULES[event.change](state, event, version))


def _as_step(before: ModelState, after: ModelState | str) -> Step:
    return Step(before, after) if isinstance(after, str) else Step(after)


def _released(state: ModelState, event: ModelEvent) -> ModelState | str:
    if event.version <= state.highest:
        return f"version {event.version} is not above {state.highest}: a version is never overwritten"
    version = VersionState(
        version=event.version,
        digest=event.digest,
        standing=Standing.RELEASED,
        released_at_ns=event.at_ns,
        since_ns=event.at_ns,
        by=event.by,
        detail=event.detail,
        run=event.run,
        figures=event.figures,
        gates=event.gates,
        settings=event.settings,
    )
    runs = run_released(state.runs, event)
    return replace(state, versions={**state.versions, event.version: version}, runs=runs)


def _shadowed(state: ModelState, event: ModelEvent, version: VersionState) -> ModelState | str:
    if version.standing is not Standing.RELEASED:
        return f"version {version.version} is {version.standing}: only a released one becomes a shadow"
    if state.candidate is not None:
        return f"version {state.candidate.version} is on trial: one at a time"
    return _moved(state, event, version, Standing.SHADOW)


def _canaried(state: ModelState, event: ModelEvent, version: VersionState) -> ModelState | str:
    if not 0 < event.share_ratio < 1:
        return f"a canary judges a share above 0 and below 1, not {event.share_ratio:g}"
    if version.standing not in NEVER_PROMOTED:
        return f"version {version.version} is {version.standing}: what was let go is released again as a new version"
    if state.candidate not in (None, version):
        return f"version {state.candidate.version if state.candidate else 0} is on trial: one at a time"
    if event.share_ratio <= version.share_ratio:
        return f"version {version.version} judges a share of {version.share_ratio:g} already: a share only grows"
    return _moved(state, event, version, Standing.CANARY, share_ratio=event.share_ratio)


def _promoted(state: ModelState, event: ModelEvent, version: VersionState) -> ModelState | str:
    if version.standing not in NEVER_PROMOTED:
        return f"version {version.version} is {version.standing}: what was let go is released again as a new version"
    if state.candidate not in (None, version):
        return f"version {state.candidate.version if state.candidate else 0} is on trial: reject it first"
    versions = dict(state.versions)
    before = versions.get(state.champion)
    if before is not None:
        versions[state.champion] = replace(before, standing=Standing.FORMER, since_ns=event.at_ns)
    promoted = _moved(replace(state, versions=versions), event, version, Standing.CHAMPION)
    return replace(promoted, champions=(*state.champions, version.version)[-KEPT_CHAMPIONS:])


def _rejected(state: ModelState, event: ModelEvent, version: VersionState) -> ModelState | str:
    if version.standing not in NEVER_PROMOTED:
        return f"version {version.version} is {version.standing}: only what was never promoted is rejected"
    return _moved(state, event, version, Standing.REJECTED)


def _rolled_back(state: ModelState, event: ModelEvent, version: VersionState) -> ModelState | str:
    if version.standing is Standing.CANARY:
        return _moved(state, event, version, Standing.ROLLED_BACK)
    if version.standing is not Standing.CHAMPION:
        return f"version {version.version} is {version.standing}: only what judges parts is rolled back"
    after = _moved(state, event, version, Standing.ROLLED_BACK)
    after = replace(after, champions=state.champions[:-1])
    versions = dict(after.versions)
    if after.champion in versions:
        versions[after.champion] = replace(
            versions[after.champion], standing=Standing.CHAMPION, since_ns=event.at_ns, retired=False
        )
    if state.candidate is not None:
        versions[state.candidate.version] = replace(
            state.candidate, standing=Standing.REJECTED, since_ns=event.at_ns, detail="its champion was rolled back"
        )
    return replace(after, versions=versions)


def _retired(state: ModelState, event: ModelEvent, version: VersionState) -> ModelState | str:
    if version.standing not in (Standing.FORMER, Standing.REJECTED, Standing.ROLLED_BACK):
        return f"version {version.version} is {version.standing}: it is in use"
    if version.retired:
        return f"version {version.version} is retired already"
    if event.at_ns < version.since_ns:
        return f"version {version.version} judged parts again after this"  # an old record, read once more
    return replace(state, versions={**state.versions, version.version: replace(version, retired=True)})


def _moved(
    state: ModelState, event: ModelEvent, version: VersionState, standing: Standing, *, share_ratio: float = 0.0
) -> ModelState:
    moved = replace(
        version,
        standing=standing,
        since_ns=event.at_ns,
        by=event.by,
        detail=event.detail,
        share_ratio=share_ratio,
        figures=event.figures,
        gates=event.gates,
    )
    return replace(state, versions={**state.versions, version.version: moved})


_RULES: dict[ModelChange, Callable[[ModelState, ModelEvent, VersionState], ModelState | str]] = {
    ModelChange.SHADOWED: _shadowed,
    ModelChange.CANARIED: _canaried,
    ModelChange.PROMOTED: _promoted,
    ModelChange.REJECTED: _rejected,
    ModelChange.ROLLED_BACK: _rolled_back,
    ModelChange.RETIRED: _retired,
}
