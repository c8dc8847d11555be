"""Histories of a model for tests: events as they come, fitting or not."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from processors.model_registry import stepped
from processors.model_runs import PROGRESS
from processors.model_state import ModelState
from schemas.records import ModelChange, ModelEvent, run_event_id, run_id, version_event_id

MODEL = "boards"
OF_RUNS = (
    ModelChange.RUN_STARTED,
    ModelChange.DATA_FROZEN,
    ModelChange.TRAINING,
    ModelChange.EVALUATED,
    ModelChange.RUN_ENDED,
)


def version_event(change: ModelChange, version: int, at_ns: int, **more: Any) -> ModelEvent:
    """A step of a version."""
    return ModelEvent(
        id=version_event_id(model=MODEL, version=version, change=change, at_ns=at_ns),
        model=MODEL,
        version=version,
        digest=more.pop("digest", f"sha256:{version}"),
        change=change,
        at_ns=at_ns,
        by=more.pop("by", "anna"),
        **more,
    )


def run_event(change: ModelChange, started_at_ns: int, at_ns: int, **more: Any) -> ModelEvent:
    """A step of a training run."""
    run = run_id(model=MODEL, started_at_ns=started_at_ns)
    return ModelEvent(
        id=run_event_id(run=run, change=change, at_ns=at_ns),
        model=MODEL,
        version=0,
        digest="",
        change=change,
        at_ns=at_ns,
        by="trainer",
        run=run,
        **more,
    )


_NUMBERS = st.integers(0, 10_000)


@st.composite
def histories(draw: st.DrawFn, *, longest: int = 24) -> list[ModelEvent]:
    """Events with rising times, of few versions and runs, so that most of them meet something that is there."""
    state, events = ModelState(model=MODEL), list[ModelEvent]()
    for at_ns, number in enumerate(draw(st.lists(_NUMBERS, max_size=longest)), start=1):
        choices = [*_fitting(state, at_ns), *_any(number, at_ns)]
        event = choices[number % len(choices)]
        events.append(event)
        state = stepped(state, event).state
    return events


def _fitting(state: ModelState, at_ns: int) -> list[ModelEvent]:
    """What has an effect now, mostly."""
    open_run = state.open_run
    run = open_run.run if open_run else ""
    choices = [version_event(ModelChange.RELEASED, state.highest + 1, at_ns, run=run)]
    for number, version in state.versions.items():
        choices += [
            version_event(ModelChange.SHADOWED, number, at_ns),
            version_event(ModelChange.CANARIED, number, at_ns, share_ratio=0.25 + version.share_ratio / 2),
            version_event(ModelChange.PROMOTED, number, at_ns),
            version_event(ModelChange.ROLLED_BACK, number, at_ns),
            version_event(ModelChange.RETIRED, number, at_ns),
        ]
    if open_run is None:
        return [*choices, run_event(ModelChange.RUN_STARTED, at_ns, at_ns, trigger=f"t{at_ns}")]
    return choices + [
        run_event(change, open_run.started_at_ns, at_ns, dataset="sha256:d", figures={PROGRESS: at_ns / 100})
        for change in OF_RUNS[1:]
    ]


def _any(number: int, at_ns: int) -> list[ModelEvent]:
    """What somebody may write who did not look."""
    of_versions = [change for change in ModelChange if change not in OF_RUNS]
    change, version, share = of_versions[number % len(of_versions)], 1 + number % 5, (0.0, 0.1, 0.5, 1.0)[number % 4]
    return [
        version_event(change, version, at_ns, share_ratio=share, digest=f"sha256:other-{number % 2}"),
        run_event(OF_RUNS[number % len(OF_RUNS)], 1 + number % at_ns, at_ns),
    ]
