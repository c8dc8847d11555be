"""Laws of the registry: the log decides, whatever is read twice, and there is always a way back."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from model_events import MODEL, histories, version_event

from processors.model_registry import Registry, stepped
from processors.model_state import ON_TRIAL, PIN, ModelState, Standing
from schemas.records import ModelChange, ModelEvent


def after(events: list[ModelEvent]) -> ModelState:
    return Registry(events).state(MODEL)


def states(events: list[ModelEvent]) -> list[ModelState]:
    """The state before the first event and after each."""
    registry = Registry()
    return [registry.state(MODEL), *(registry.take(event).state for event in events)]


@given(events=histories(), data=st.data())
def test_records_that_are_read_again_change_nothing(events: list[ModelEvent], data: st.DataObject) -> None:
    until = data.draw(st.integers(0, len(events)))
    begin = data.draw(st.integers(0, until))
    again = Registry([*events[:until], *events[begin:until]])
    assert again.state(MODEL) == after(events[:until])
    for event in events[until:]:
        again.take(event)
    assert again.state(MODEL) == after(events)


@given(events=histories(), data=st.data())
def test_a_step_that_was_taken_has_no_effect_under_another_id(events: list[ModelEvent], data: st.DataObject) -> None:
    registry = Registry()
    taken = [
        event for event in events if not registry.take(event).refused and event.change is not ModelChange.RUN_STARTED
    ]
    if taken:
        again = data.draw(st.sampled_from(taken))
        assert registry.take(msgspec.structs.replace(again, id="written twice")).refused


@given(one=histories(longest=15), other=histories(longest=15), data=st.data())
def test_models_do_not_disturb_each_other(one: list[ModelEvent], other: list[ModelEvent], data: st.DataObject) -> None:
    theirs = [msgspec.structs.replace(event, id=f"spindles/{event.id}", model="spindles") for event in other]
    mixed: list[ModelEvent] = []
    left, right = list(one), list(theirs)
    while left or right:
        mixed.append((left if left and (not right or data.draw(st.booleans())) else right).pop(0))
    assert Registry(mixed).models == Registry([*one, *theirs]).models


@given(events=histories())
def test_at_most_one_version_is_on_trial_and_one_run_goes_on(events: list[ModelEvent]) -> None:
    for state in states(events):
        assert sum(version.standing in ON_TRIAL for version in state.versions.values()) <= 1
        assert sum(run.is_open for run in state.runs.values()) <= 1
        assert all((each.share_ratio > 0) == (each.standing is Standing.CANARY) for each in state.versions.values())


@given(events=histories())
def test_the_champion_is_the_one_version_that_stands_as_such(events: list[ModelEvent]) -> None:
    for state in states(events):
        standing = [number for number, each in state.versions.items() if each.standing is Standing.CHAMPION]
        assert standing == ([state.champion] if state.champion != PIN else [])
        assert len(set(state.champions)) == len(state.champions)


@given(events=histories())
def test_a_version_is_never_overwritten(events: list[ModelEvent]) -> None:
    seen: dict[int, str] = {}
    for state in states(events):
        for number, version in state.versions.items():
            assert seen.setdefault(number, version.digest) == version.digest
        assert set(seen) == set(state.versions)


@given(events=histories())
def test_there_is_always_a_way_back_to_every_champion_and_to_the_pin(events: list[ModelEvent]) -> None:
    state = after(events)
    way = list(zip(state.champions, (PIN, *state.champions[:-1]), strict=False))
    for at_ns, (champion, before) in enumerate(reversed(way)):
        assert state.champion == champion
        step = stepped(state, version_event(ModelChange.ROLLED_BACK, champion, 1_000 + at_ns))
        assert not step.refused
        state = step.state
        assert state.champion == before
        assert before in (PIN, *state.loaded)
        assert state.candidate is None
    assert state.champion == PIN


@given(events=histories())
def test_what_judges_or_judged_stays_loaded_until_it_is_retired(events: list[ModelEvent]) -> None:
    loaded: set[int] = set()
    for event, state in zip(events, states(events)[1:], strict=True):
        gone = loaded - set(state.loaded)
        assert gone <= ({event.version} if event.change is ModelChange.RETIRED else set())
        loaded = set(state.loaded)
        assert state.champion in (PIN, *loaded)
        assert state.candidate is None or state.candidate.version in loaded
