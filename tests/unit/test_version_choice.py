"""Which version judges a part: the same for all of its views and visits, never below the pin, never one that is not served."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from model_events import MODEL, histories, version_event

from processors.model_registry import Registry
from processors.model_state import ModelState, Standing
from processors.version_choice import in_canary, version_for, versions_needed, with_versions
from schemas.recipes import GoldenInspection, ModelPin, SegmenterInspection
from schemas.records import ModelChange, ModelEvent

FOLLOWS = ModelPin(name=MODEL, version=1, follow=True)
PARTS = [f"cut/{number}" for number in range(2_000)]


def state_with(*, champions: tuple[int, ...] = (), canary: int = 0, share_ratio: float = 0.25) -> ModelState:
    events = []
    for version in champions:
        events += [
            version_event(ModelChange.RELEASED, version, version),
            version_event(ModelChange.PROMOTED, version, version + 100),
        ]
    if canary:
        events += [
            version_event(ModelChange.RELEASED, canary, 50),
            version_event(ModelChange.SHADOWED, canary, 51),
            version_event(ModelChange.CANARIED, canary, 52, share_ratio=share_ratio),
        ]
    return Registry(events).state(MODEL)


def judged_by(
    pin: ModelPin, state: ModelState, part: str = PARTS[0], *, served: range | tuple[int, ...] = range(100)
) -> int:
    return version_for(pin, state, part=part, serves=lambda version: version in served)


def test_a_pin_that_does_not_follow_is_what_it_says() -> None:
    state = state_with(champions=(2, 3), canary=4)
    pin = ModelPin(name=MODEL, version=1)
    assert {judged_by(pin, state, part) for part in PARTS} == {1}
    assert versions_needed(pin, state) == ()


def test_the_champion_judges_and_what_cannot_be_served_is_passed_over_down_to_the_pin() -> None:
    state = state_with(champions=(2, 3))
    assert judged_by(FOLLOWS, state) == 3
    assert judged_by(FOLLOWS, state, served=(1, 2)) == 2
    assert judged_by(FOLLOWS, state, served=()) == 1
    assert judged_by(FOLLOWS, ModelState(model=MODEL)) == 1


def test_a_champion_that_is_the_pin_judges_although_a_former_one_is_higher() -> None:
    events = [version_event(ModelChange.RELEASED, version, version) for version in (3, 5)]
    events += [version_event(ModelChange.PROMOTED, version, 10 + at) for at, version in enumerate((5, 3))]
    state = Registry(events).state(MODEL)
    assert judged_by(ModelPin(name=MODEL, version=3, follow=True), state, served=(5,)) == 3


def test_the_line_never_goes_below_the_pin() -> None:
    state = state_with(champions=(2, 3))
    assert judged_by(ModelPin(name=MODEL, version=5, follow=True), state) == 5
    assert versions_needed(ModelPin(name=MODEL, version=5, follow=True), state) == ()


def test_a_canary_judges_its_share_and_the_champion_the_rest() -> None:
    state = state_with(champions=(2,), canary=3, share_ratio=0.25)
    by_canary = [part for part in PARTS if judged_by(FOLLOWS, state, part) == 3]
    assert abs(len(by_canary) / len(PARTS) - 0.25) < 0.04  # four standard deviations
    assert {judged_by(FOLLOWS, state, part) for part in PARTS} == {2, 3}
    assert {judged_by(FOLLOWS, state, part, served=(1, 2)) for part in PARTS} == {2}
    assert versions_needed(FOLLOWS, state) == (2, 3)


@given(part=st.text(), version=st.integers(1, 9), share=st.floats(0, 1), more=st.floats(0, 1))
def test_who_is_in_at_one_share_is_in_at_every_larger_one(part: str, version: int, share: float, more: float) -> None:
    low, high = sorted((share, more))
    was_in = in_canary(model=MODEL, version=version, part=part, share_ratio=low)
    assert not was_in or in_canary(model=MODEL, version=version, part=part, share_ratio=high)
    assert not in_canary(model=MODEL, version=version, part=part, share_ratio=0.0)


def test_candidates_are_not_all_tried_out_on_the_same_parts() -> None:
    chosen = [
        {part for part in PARTS if in_canary(model=MODEL, version=version, part=part, share_ratio=0.25)}
        for version in (3, 4)
    ]
    assert len(chosen[0] & chosen[1]) < 0.5 * len(chosen[0])


@given(
    events=histories(), pinned=st.integers(1, 4), served=st.sets(st.integers(1, 6)), part=st.sampled_from(PARTS[:50])
)
def test_whatever_happened_a_part_is_judged_by_something_served_or_by_the_pin(
    events: list[ModelEvent], pinned: int, served: set[int], part: str
) -> None:
    state = Registry(events).state(MODEL)
    pin = ModelPin(name=MODEL, version=pinned, follow=True)
    version = judged_by(pin, state, part, served=tuple(served))
    assert version == pinned or version in served
    assert version >= pinned
    if version != pinned:
        assert state.versions[version].standing in (Standing.CHAMPION, Standing.FORMER, Standing.CANARY)
    everything = versions_needed(pin, state)
    assert judged_by(pin, state, part, served=everything) in (pinned, *everything)


def test_versions_are_put_into_the_inspection_and_nothing_else_changes() -> None:
    golden = GoldenInspection()
    assert with_versions(golden, lambda pin: pin.version) is golden
    newer = with_versions(golden, lambda pin: 9 if pin.name == "defect_classifier" else pin.version)
    assert (newer.classifier.version, newer.compare) == (9, golden.compare)
    learned = SegmenterInspection(model=FOLLOWS, threshold=0.7)
    assert with_versions(learned, lambda pin: 4) == SegmenterInspection(
        model=ModelPin(name=MODEL, version=4, follow=True), threshold=0.7
    )
