"""What is due for a model: which trial is followed, which version begins one, and when a run may begin."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from model_events import MODEL, histories, run_event, version_event

from processors.candidate_rules import Phase
from processors.learning_plan import DAY_NS, REFERENCE_NS, next_run, next_shadow, watch_for
from processors.model_registry import Registry
from processors.model_state import ModelState
from processors.served_versions import DRAINED_NS, unserved
from processors.version_choice import versions_needed
from schemas.alerts import RetrainingTrigger
from schemas.learning_settings import LearningSettings
from schemas.message import NS_PER_MS
from schemas.recipes import ModelPin
from schemas.records import ModelChange, ModelEvent

C = ModelChange
RUN = f"{MODEL}/run/1"
LIMITS = LearningSettings(run_interval_ms=1_000, runs_per_day=2)
SECOND_NS = 1_000 * NS_PER_MS
LATER_NS = 10 * SECOND_NS
VIEWS = frozenset({("disc@1", "top")})


def after(*events: ModelEvent) -> ModelState:
    return Registry(events).state(MODEL)


def asked(at_ns: int = 1, *, model: str = MODEL) -> RetrainingTrigger:
    return RetrainingTrigger(
        id=f"{model}/reviews/{at_ns}", model=model, cause="reviews", station="cut", fired_at_ns=at_ns, evidence=()
    )


def due(state: ModelState, *triggers: RetrainingTrigger, now_ns: int = LATER_NS) -> str | None:
    return next_run({MODEL: state}, triggers, LIMITS, models=[MODEL], now_ns=now_ns)


def test_what_a_run_released_goes_into_shadow_and_what_a_person_brought_does_not() -> None:
    assert next_shadow(after(version_event(C.RELEASED, 1, 1))) is None
    assert next_shadow(after(version_event(C.RELEASED, 1, 1, run=RUN))) == 1
    assert next_shadow(after(version_event(C.RELEASED, 1, 1, run=RUN), version_event(C.RELEASED, 2, 2, run=RUN))) == 2


def test_only_one_version_at_a_time_and_none_below_the_champion() -> None:
    first, second = version_event(C.RELEASED, 1, 1, run=RUN), version_event(C.RELEASED, 2, 2, run=RUN)
    assert next_shadow(after(first, second, version_event(C.SHADOWED, 1, 3))) is None
    assert next_shadow(after(first, second, version_event(C.PROMOTED, 2, 3))) is None


def test_a_trial_is_followed_from_the_step_that_began_it() -> None:
    released, shadowed = version_event(C.RELEASED, 1, 1), version_event(C.SHADOWED, 1, 5)
    watch = watch_for(after(released, shadowed), LIMITS, views=VIEWS, now_ns=9)
    assert watch is not None
    assert (watch.phase, watch.trial.since_ns, watch.trial.share_ratio, watch.from_ns) == (Phase.SHADOW, 5, 0.0, 5)
    watch = watch_for(
        after(released, shadowed, version_event(C.CANARIED, 1, 7, share_ratio=0.25)), LIMITS, views=VIEWS, now_ns=9
    )
    assert watch is not None
    assert (watch.phase, watch.trial.since_ns, watch.trial.share_ratio) == (Phase.CANARY, 7, 0.25)


def test_a_new_champion_is_compared_with_the_hour_before_it_for_a_while() -> None:
    state = after(version_event(C.RELEASED, 1, 1), version_event(C.PROMOTED, 1, 2 * REFERENCE_NS))
    watch = watch_for(state, LIMITS, views=VIEWS, now_ns=2 * REFERENCE_NS)
    assert watch is not None
    assert (watch.phase, watch.from_ns) == (Phase.PROBATION, REFERENCE_NS)
    late_ns = 2 * REFERENCE_NS + (LIMITS.trial_limit_ms + 1) * NS_PER_MS
    assert watch_for(state, LIMITS, views=VIEWS, now_ns=late_ns) is None


def test_a_champion_that_came_back_by_a_rollback_is_on_no_probation() -> None:
    """Or the one that was there before would be taken back for calling fewer parts bad than the one that called too many."""
    first = (version_event(C.RELEASED, 1, 1), version_event(C.PROMOTED, 1, 2))
    second = (version_event(C.RELEASED, 2, 3), version_event(C.PROMOTED, 2, 4))
    assert watch_for(after(*first, *second), LIMITS, views=VIEWS, now_ns=9) is not None
    assert watch_for(after(*first, *second, version_event(C.ROLLED_BACK, 2, 5)), LIMITS, views=VIEWS, now_ns=9) is None


def test_what_was_let_go_is_nothing_to_be_compared_with() -> None:
    state = after(version_event(C.RELEASED, 1, 1), version_event(C.REJECTED, 1, 2), *(
        version_event(C.RELEASED, 2, 3), version_event(C.SHADOWED, 2, 4)
    ))  # fmt: skip
    watch = watch_for(state, LIMITS, views=VIEWS, now_ns=9)
    assert watch is not None
    assert watch.trial.let_go == {1}


def test_a_request_is_due_when_nothing_speaks_against_it() -> None:
    assert due(ModelState(model=MODEL)) is None
    assert due(ModelState(model=MODEL), asked()) == MODEL
    assert due(ModelState(model=MODEL), asked(model="others")) is None


def test_a_request_during_a_trial_waits_for_its_end() -> None:
    released, canary = version_event(C.RELEASED, 1, 1), version_event(C.CANARIED, 1, 2, share_ratio=0.1)
    assert due(after(released, canary), asked()) is None
    assert due(after(released, canary, version_event(C.ROLLED_BACK, 1, 3)), asked()) == MODEL


def test_a_run_that_stands_open_is_taken_up_without_a_request_and_before_any_other() -> None:
    state = after(run_event(C.RUN_STARTED, 1, 1))
    assert due(state) == MODEL
    known = {MODEL: state, "another": ModelState(model="another")}
    assert next_run(known, [asked(model="another")], LIMITS, models=["another", MODEL], now_ns=2) == MODEL


def ended(started_at_ns: int) -> list[ModelEvent]:
    return [
        run_event(C.RUN_STARTED, started_at_ns, started_at_ns),
        run_event(C.RUN_ENDED, started_at_ns, started_at_ns + 1),
    ]


def test_runs_are_some_time_apart_and_a_day_has_so_many() -> None:
    once = after(*ended(SECOND_NS))
    assert due(once, asked(2), now_ns=2 * SECOND_NS - 1) is None
    assert due(once, asked(2), now_ns=2 * SECOND_NS) == MODEL
    twice = after(*ended(SECOND_NS), *ended(3 * SECOND_NS))
    assert due(twice, asked(4 * SECOND_NS)) is None
    assert due(twice, asked(4 * SECOND_NS), now_ns=DAY_NS + 2 * SECOND_NS) == MODEL


def test_a_run_with_the_time_of_a_wrong_clock_holds_up_nothing_for_years() -> None:
    assert due(after(*ended(400 * DAY_NS)), asked()) == MODEL


def test_the_server_lets_go_of_what_was_let_go_of_some_time_ago() -> None:
    released = [version_event(C.RELEASED, version, version) for version in range(1, 11)]
    champions = [version_event(C.PROMOTED, version, 20 + version) for version in range(1, 8)]
    gone = version_event(C.REJECTED, 9, 30)
    state = after(*released, *champions, gone)
    late_ns = DRAINED_NS + 100
    assert unserved(state, pinned={2}, now_ns=late_ns) == {1, 9}, "2 is pinned, 3 to 7 are champions, 8 and 10 wait"
    assert unserved(state, pinned={2}, now_ns=100) == frozenset(), "parts may be on their way"


@given(events=histories(), pin=st.integers(1, 5))
def test_what_may_judge_a_part_is_served(events: list[ModelEvent], pin: int) -> None:
    state = after(*events)
    gone = unserved(state, pinned={pin}, now_ns=DRAINED_NS * 2)
    needed = set(versions_needed(ModelPin(name=MODEL, version=1, follow=True), state))
    assert not gone & {pin, state.champion, *needed}
    assert state.candidate is None or state.candidate.version not in gone


@given(events=histories())
def test_a_trial_that_is_followed_is_one_that_goes_on(events: list[ModelEvent]) -> None:
    state = after(*events)
    watch = watch_for(state, LIMITS, views=VIEWS, now_ns=len(events))
    if state.candidate is not None:
        assert watch is not None
        assert watch.trial.version == state.candidate.version
        assert (watch.phase is Phase.CANARY) == (watch.trial.share_ratio > 0)
        assert next_shadow(state) is None
    elif watch is not None:
        assert watch.trial.version == state.champion
