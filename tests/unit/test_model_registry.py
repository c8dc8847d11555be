"""The life of a version and of a training run, step by step, and what is refused with which words."""

from __future__ import annotations

import msgspec
import pytest
from model_events import MODEL, run_event, version_event

from processors.model_registry import Registry
from processors.model_runs import PROGRESS, next_trigger
from processors.model_state import PIN, ModelState, RunStep, Standing
from schemas.alerts import RetrainingTrigger
from schemas.records import Gate, ModelChange, ModelEvent

RELEASED, SHADOWED, CANARIED = ModelChange.RELEASED, ModelChange.SHADOWED, ModelChange.CANARIED
PROMOTED, REJECTED, ROLLED_BACK, RETIRED = (
    ModelChange.PROMOTED,
    ModelChange.REJECTED,
    ModelChange.ROLLED_BACK,
    ModelChange.RETIRED,
)


def life(version: int, at_ns: int) -> list[ModelEvent]:
    """From the release to the promotion, in four ns."""
    return [
        version_event(RELEASED, version, at_ns),
        version_event(SHADOWED, version, at_ns + 1),
        version_event(CANARIED, version, at_ns + 2, share_ratio=0.1),
        version_event(PROMOTED, version, at_ns + 3),
    ]


def standings(state: ModelState) -> dict[int, Standing]:
    return {number: version.standing for number, version in state.versions.items()}


def test_a_version_goes_from_its_release_over_shadow_and_canary_to_the_promotion() -> None:
    registry = Registry()
    seen = [registry.take(event).state for event in [*life(2, 10), *life(3, 20)]]
    assert [standings(state)[2] for state in seen[:4]] == ["released", "shadow", "canary", "champion"]
    assert [state.champion for state in seen] == [PIN, PIN, PIN, 2, 2, 2, 2, 3]
    assert [each.candidate.version if each.candidate else None for each in seen[4:]] == [None, 3, 3, None]
    assert seen[6].candidate is not None
    assert seen[6].candidate.share_ratio == 0.1
    assert standings(seen[-1]) == {2: Standing.FORMER, 3: Standing.CHAMPION}
    assert seen[-1].loaded == (2, 3)
    assert registry.take(version_event(RETIRED, 2, 30)).state.loaded == (3,)


def test_a_rollback_goes_back_one_champion_and_loads_it_again() -> None:
    registry = Registry([*life(2, 10), *life(3, 20), version_event(RETIRED, 2, 30)])
    state = registry.take(version_event(ROLLED_BACK, 3, 40, beside=2)).state
    assert (state.champion, standings(state)[3], state.loaded) == (2, Standing.ROLLED_BACK, (2, 3))
    state = registry.take(version_event(ROLLED_BACK, 2, 50)).state
    assert state.champion == PIN


def test_a_rollback_during_a_canary_ends_the_canary_too() -> None:
    registry = Registry([*life(2, 10), *life(3, 20)[:3]])
    state = registry.take(version_event(ROLLED_BACK, 2, 40)).state
    assert state.candidate is None
    assert standings(state) == {2: Standing.ROLLED_BACK, 3: Standing.REJECTED}


def test_a_canary_that_is_rolled_back_leaves_the_champion_where_it_is() -> None:
    registry = Registry([*life(2, 10), *life(3, 20)[:3]])
    state = registry.take(version_event(ROLLED_BACK, 3, 40)).state
    assert (state.champion, standings(state)[3]) == (2, Standing.ROLLED_BACK)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (version_event(RELEASED, 3, 90, digest="sha256:other"), "not above 3"),
        (version_event(SHADOWED, 4, 90), "version 3 is on trial"),
        (version_event(SHADOWED, 9, 90), "never released"),
        (version_event(CANARIED, 3, 90, share_ratio=1.0), "above 0 and below 1"),
        (version_event(CANARIED, 3, 90, share_ratio=0.1), "only grows"),
        (version_event(CANARIED, 4, 90, share_ratio=0.5), "version 3 is on trial"),
        (version_event(CANARIED, 2, 90, share_ratio=0.5), "released again as a new version"),
        (version_event(SHADOWED, 2, 90), "only a released one"),
        (version_event(PROMOTED, 4, 90), "version 3 is on trial"),
        (version_event(REJECTED, 2, 90), "never promoted"),
        (version_event(RETIRED, 2, 90), "in use"),
    ],
    ids=lambda value: value.change if isinstance(value, ModelEvent) else value,
)
def test_what_does_not_fit_has_no_effect_and_says_why(event: ModelEvent, words: str) -> None:
    registry = Registry([*life(2, 10), *life(3, 20)[:3], version_event(RELEASED, 4, 30)])
    if event.version == 3 and event.change is RELEASED:
        registry = Registry([*life(2, 10), *life(3, 20)[:3]])
    before = registry.state(MODEL)
    step = registry.take(event)
    assert words in step.refused
    assert step.state == before


GATE = Gate(name="escapes_ratio", value=0.2, limit=0.1, passed=False)


def whole_run(started: int) -> list[ModelEvent]:
    return [
        run_event(ModelChange.RUN_STARTED, started, started, trigger="t1"),
        run_event(ModelChange.DATA_FROZEN, started, started + 1, dataset="sha256:data"),
        run_event(ModelChange.TRAINING, started, started + 2, figures={PROGRESS: 0.5}),
        run_event(ModelChange.EVALUATED, started, started + 3, figures={"f1_ratio": 0.9}, gates=(GATE,)),
    ]


def test_a_run_keeps_its_lineage_from_the_request_to_the_version() -> None:
    registry = Registry(whole_run(10))
    run = registry.state(MODEL).open_run
    assert run is not None
    assert (run.trigger, run.dataset, run.step, run.gates) == ("t1", "sha256:data", RunStep.EVALUATED, (GATE,))
    state = registry.take(version_event(RELEASED, 2, 20, run=run.run)).state
    assert (state.runs[run.run].step, state.runs[run.run].version) == (RunStep.RELEASED, 2)
    assert state.versions[2].run == run.run
    assert state.open_run is None


def test_a_run_never_goes_back_and_only_one_goes_on() -> None:
    registry = Registry(whole_run(10)[:3])
    assert "further already" in registry.take(run_event(ModelChange.TRAINING, 10, 20, figures={PROGRESS: 0.4})).refused
    assert "is past it" in registry.take(run_event(ModelChange.DATA_FROZEN, 10, 21, dataset="sha256:x")).refused
    assert "one at a time" in registry.take(run_event(ModelChange.RUN_STARTED, 30, 30)).refused
    assert not registry.take(run_event(ModelChange.RUN_ENDED, 10, 40)).refused
    assert "is over" in registry.take(run_event(ModelChange.TRAINING, 10, 50, figures={PROGRESS: 0.9})).refused
    assert not registry.take(run_event(ModelChange.RUN_STARTED, 60, 60)).refused


def trigger(name: str, fired_at_ns: int) -> RetrainingTrigger:
    return RetrainingTrigger(id=name, model=MODEL, cause="reviews", station="cut", fired_at_ns=fired_at_ns, evidence=())


def test_two_requests_at_once_are_answered_by_one_run_and_a_later_one_waits_for_the_trial() -> None:
    one, two, later = trigger("t1", 5), trigger("t2", 6), trigger("t3", 50)
    requests = [two, one, later, replace_model(one)]
    registry = Registry()
    assert next_trigger(registry.state(MODEL), requests) == one
    for event in whole_run(10):
        registry.take(event)
        assert next_trigger(registry.state(MODEL), requests) is None
    run = registry.state(MODEL).open_run
    assert run is not None
    released = [replace_run(life(2, 60)[0], run.run), *life(2, 60)[1:]]
    for event in released[:3]:
        registry.take(event)
    assert next_trigger(registry.state(MODEL), requests) is None, "a version is on trial"
    assert "on trial" in registry.take(run_event(ModelChange.RUN_STARTED, 63, 63)).refused
    registry.take(released[3])
    assert next_trigger(registry.state(MODEL), requests) == later


def test_a_run_that_fails_before_it_has_data_answers_only_its_own_request() -> None:
    started, *_ = whole_run(10)
    registry = Registry([started, run_event(ModelChange.RUN_ENDED, 10, 11, detail="object store away")])
    assert next_trigger(registry.state(MODEL), [trigger("t1", 5), trigger("t2", 6)]) == trigger("t2", 6)


def replace_model(one: RetrainingTrigger) -> RetrainingTrigger:
    return RetrainingTrigger(id="other", model="spindles", cause=one.cause, station="cut", fired_at_ns=1, evidence=())


def replace_run(event: ModelEvent, run: str) -> ModelEvent:
    return version_event(event.change, event.version, event.at_ns, run=run)


def test_a_record_that_had_no_effect_has_none_when_it_is_read_again() -> None:
    early = version_event(PROMOTED, 2, 5)
    registry = Registry([early, *life(2, 10)[:1]])
    assert registry.take(early).refused
    assert registry.state(MODEL).champion == PIN


def test_an_old_word_that_a_version_is_drained_does_not_unload_it_after_it_judged_again() -> None:
    registry = Registry([*life(2, 10), *life(3, 20), version_event(RETIRED, 2, 30), version_event(ROLLED_BACK, 3, 40)])
    for event in life(4, 50):
        registry.take(event)
    again = msgspec.structs.replace(version_event(RETIRED, 2, 30), id="written twice")
    assert "judged parts again" in registry.take(again).refused
    assert 2 in registry.state(MODEL).loaded
