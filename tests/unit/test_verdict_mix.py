"""A model is asked to learn again when the line's verdicts drift from batch to batch, never because a batch is bad."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from drifting_verdicts import SETTINGS, plant_named, reviewed, scored
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.drift import DriftWatch, LastTriggers
from processors.verdict_mix import VerdictMix
from schemas.alerts import DriftEvidence, RetrainingTrigger
from schemas.plant import RetrainingSettings
from schemas.reasons import VerdictValue
from schemas.verdicts import Verdict

S = 1_000_000_000
DAY = 24 * 3_600 * S
OK, NOT_OK = VerdictValue.OK, VerdictValue.NOT_OK
SIZE = 100
MIX = replace(SETTINGS, baseline_parts=500, mix_batches=3, mix_batch_parts=50)


def batch(name: str, *, bad: int, size: int = SIZE, begin: int = 0) -> Iterator[Verdict]:
    """A batch of which the first `bad` parts are NOT_OK."""
    for number in range(size):
        _, verdict = scored(begin + number, value=NOT_OK if number < bad else OK)
        yield replace(verdict, batch=name)


def evidence_of(*bad_parts: int, settings: RetrainingSettings = MIX, baseline_bad: int = 25) -> DriftEvidence | None:
    """After a baseline of 500 parts, batches with so many bad parts, and the begin of one more."""
    mix = VerdictMix(settings=settings)
    verdicts = [*batch("learned", bad=baseline_bad, size=500)]
    for number, bad in enumerate((*bad_parts, 0)):
        verdicts += batch(f"b-{number}", bad=bad)
    for number, verdict in enumerate(verdicts):
        mix.add(verdict, at_ns=number + 1)
    return mix.evidence(since_ns=0)


def test_three_batches_beyond_the_limits_are_evidence() -> None:
    evidence = evidence_of(30, 25, 28)
    assert evidence is not None
    assert evidence.statistic == "not_ok_ratio"
    assert (evidence.sample_size, evidence.observed) == (300, pytest.approx(83 / 300))
    assert evidence.baseline == pytest.approx(0.05, abs=0.002)
    assert evidence.p_value is not None
    assert evidence.p_value < 1e-6


def test_a_line_that_suddenly_finds_nothing_is_evidence_too() -> None:
    evidence = evidence_of(0, 0, 0, baseline_bad=75)
    assert evidence is not None
    assert evidence.observed == 0


@given(bad=st.integers(0, SIZE), ordinary=st.tuples(st.integers(2, 8), st.integers(2, 8)), place=st.integers(0, 2))
def test_a_single_bad_batch_is_never_evidence(bad: int, ordinary: tuple[int, int], place: int) -> None:
    batches = list(ordinary)
    batches.insert(place, bad)
    assert evidence_of(*batches) is None


def test_batches_that_differ_to_both_sides_are_no_drift() -> None:
    assert evidence_of(45, 0, 45, baseline_bad=75) is None


def test_parts_without_a_batch_small_batches_and_undecided_parts_say_nothing() -> None:
    mix = VerdictMix(settings=MIX)
    verdicts = [*batch("learned", bad=25, size=500)]
    for number in range(9):
        verdicts += batch(f"small-{number}", bad=49, size=49)
        verdicts += batch("", bad=SIZE)
        verdicts += [replace(v, verdict=VerdictValue.NOT_DECIDABLE) for v in batch(f"open-{number}", bad=SIZE)]
    for number, verdict in enumerate(verdicts):
        mix.add(verdict, at_ns=number + 1)
    assert mix.evidence(since_ns=0) is None


class Watched:
    """The whole watch, one part per second."""

    def __init__(self, settings: RetrainingSettings = MIX) -> None:
        self.last = LastTriggers(settings=settings)
        self.watch = DriftWatch(plant=plant_named(settings=settings), last=self.last)
        self.at_ns, self.number = S, 0
        self.triggers: list[RetrainingTrigger] = []

    def feed(self, name: str, *, bad: int, size: int = SIZE) -> None:
        for verdict in batch(name, bad=bad, size=size, begin=self.number):
            self.at_ns += S
            self._take(verdict)
        self.number += size

    def review(self, first: int, count: int, value: VerdictValue) -> None:
        for number in range(first, first + count):
            self._take(reviewed(number, value)[1])

    def _take(self, verdict: Verdict) -> None:
        trigger = self.watch.take(verdict, at_ns=self.at_ns)
        if trigger is not None:
            self.last.note(trigger)
            self.triggers.append(trigger)


def test_a_model_that_calls_good_parts_bad_is_asked_to_learn_again_once() -> None:
    watched = Watched()
    watched.feed("learned", bad=25, size=500)
    for number in range(6):
        watched.feed(f"b-{number}", bad=30)
    (trigger,) = watched.triggers
    assert (trigger.cause, trigger.recipe) == ("verdict_mix", "board-a@1")


def test_a_process_that_people_confirmed_is_not_taken_for_drift() -> None:
    watched = Watched()
    watched.feed("learned", bad=25, size=500)
    watched.feed("b-0", bad=30)
    watched.review(501, 10, NOT_OK)
    for number in range(1, 6):
        watched.feed(f"b-{number}", bad=30)
    assert watched.triggers == []


def test_the_budget_of_thirty_days_holds_and_is_not_spent_for_ever() -> None:
    settings = replace(MIX, most_per_30_days=2, minimum_interval_ms=1_000)
    last = LastTriggers(settings=settings)

    def asked(at_ns: int) -> bool:
        if not last.allow("model", at_ns):
            return False
        last.note(
            RetrainingTrigger(
                id=str(at_ns), model="model", cause="reviews", station="aoi", fired_at_ns=at_ns, evidence=()
            )
        )
        return True

    assert [asked(day * DAY) for day in (1, 5, 10, 30, 31, 34, 35, 36)] == [
        True, True, False, False, True, False, True, False,
    ]  # fmt: skip
