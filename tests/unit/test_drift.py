"""When a model is to learn again: a shift of the scores of good parts, or people who disagree; never the product mix or a bad batch."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from drifting_verdicts import LEVELS, SETTINGS, plant_named, reviewed, scored
from judged_parts import MODEL
from msgspec.structs import replace
from scipy.stats import ks_2samp

from processors.drift import DriftWatch, LastTriggers
from processors.score_shift import Score, ScoreShift
from schemas.alerts import RetrainingTrigger
from schemas.plant import RetrainingSettings
from schemas.reasons import VerdictValue
from schemas.verdicts import Verdict

S = 1_000_000_000
LEARNED, FULL = SETTINGS.baseline_views, SETTINGS.window_views
INTERVAL_S = SETTINGS.minimum_interval_ms // 1_000
RECIPES = list(LEVELS)

Told = tuple[str, Verdict]


class Watched:
    """A watch, fed one verdict per second; what it asks for counts as made."""

    def __init__(self, *, settings: RetrainingSettings = SETTINGS, last: LastTriggers | None = None) -> None:
        self.last = last or LastTriggers(settings=settings)
        self.watch = DriftWatch(plant=plant_named(settings=settings), last=self.last)
        self.at_ns = 1_000 * S
        self.triggers: list[RetrainingTrigger] = []

    def feed(self, verdicts: Iterable[Told], *, line: VerdictValue | None = None) -> list[RetrainingTrigger]:
        """Returns what these asked for."""
        before = len(self.triggers)
        for _, verdict in verdicts:
            self.at_ns += S
            trigger = self.watch.take(verdict, at_ns=self.at_ns, line=line)
            if trigger is not None:
                self.last.note(trigger)
                self.triggers.append(trigger)
        return self.triggers[before:]

    def wait(self, seconds: int) -> None:
        self.at_ns += seconds * S


def learned() -> Watched:
    watched = Watched()
    watched.feed(scored(n) for n in range(LEARNED + FULL))
    return watched


def test_scores_that_move_ask_once_with_evidence() -> None:
    watched = learned()
    assert watched.triggers == []
    (trigger,) = watched.feed(scored(1_000 + n, shift=0.3) for n in range(3 * FULL))
    assert trigger.id == f"defect_classifier/score_shift/{trigger.fired_at_ns}"
    assert (trigger.model, trigger.station, trigger.recipe) == ("defect_classifier", "aoi-1", "board-a@1")
    (evidence,) = trigger.evidence
    assert evidence.statistic == "ks_distance"
    assert evidence.observed >= evidence.threshold == 0.5
    assert evidence.p_value is not None
    assert evidence.p_value <= SETTINGS.p_value
    assert evidence.sample_size == FULL
    assert set(evidence.examples) <= {f"aoi-1/top/{1_000 + n}" for n in range(3 * FULL)}


def test_scores_that_fall_are_a_shift_too() -> None:
    watched = Watched()
    watched.feed(scored(n, shift=0.3) for n in range(LEARNED + FULL))
    assert len(watched.feed(scored(1_000 + n) for n in range(2 * FULL))) == 1


def test_orders_of_batches_of_recipes_are_hardly_ever_taken_for_a_drift() -> None:
    """Every new score is a test of its own, so a false alarm cannot be ruled out; in 40 random orders there is at most one."""
    false_alarms = 0
    for seed in range(40):
        choose, watched, number = random.Random(seed), Watched(), seed * 10_000
        for _ in range(choose.randint(1, 12)):
            parts, recipe = choose.randint(1, 60), choose.choice(RECIPES)
            watched.feed(scored(number + n, recipe=recipe) for n in range(parts))
            number += parts
        false_alarms += len(watched.triggers)
    assert false_alarms <= 1


def test_a_drift_shows_through_a_mix_of_recipes() -> None:
    watched = Watched()
    order = random.Random(1).choices(RECIPES, k=6 * LEARNED)
    watched.feed(scored(n, recipe=recipe) for n, recipe in enumerate(order))
    (trigger,) = watched.feed(scored(1_000 + n, recipe=recipe, shift=0.2) for n, recipe in enumerate(order[: 2 * FULL]))
    assert trigger.recipe == ""


def test_a_bad_batch_is_no_drift() -> None:
    watched = learned()
    bad = [scored(1_000 + n, shift=0.9, value=VerdictValue.NOT_OK) for n in range(3 * FULL)]
    undecided = [scored(2_000 + n, shift=0.9, value=VerdictValue.NOT_DECIDABLE) for n in range(3 * FULL)]
    assert watched.feed(bad + undecided) == []


@pytest.mark.parametrize(
    ("statistic", "seen"),
    [("level_ratio_ks_distance", {"brightness": 0.9}), ("sharpness_ratio_ks_distance", {"sharpness": 0.8})],
)
def test_pictures_that_change_ask_once_though_the_scores_stay(statistic: str, seen: dict[str, float]) -> None:
    watched = learned()
    assert watched.triggers == []
    (trigger,) = watched.feed(scored(1_000 + n, **seen) for n in range(3 * FULL))
    assert trigger.id == f"defect_classifier/image_shift/{trigger.fired_at_ns}"
    (evidence,) = trigger.evidence
    assert evidence.statistic == statistic
    assert evidence.observed >= evidence.threshold == SETTINGS.minimum_distance
    assert set(evidence.examples) <= {f"aoi-1/top/{1_000 + n}" for n in range(3 * FULL)}


def test_a_bad_batch_that_looks_different_is_no_drift() -> None:
    """Dark, blurred boards that the line finds NOT_OK are a change of the process: it is for the alerts, not for the model."""
    watched = learned()
    bad = [scored(1_000 + n, value=VerdictValue.NOT_OK, brightness=0.5, sharpness=0.3) for n in range(3 * FULL)]
    assert watched.feed(bad) == []
    assert watched.feed(scored(2_000 + n) for n in range(3 * FULL)) == []


def test_what_is_learned_of_one_station_is_not_held_against_another() -> None:
    watched = learned()
    assert watched.feed(scored(n, station="aoi-2", shift=0.3) for n in range(LEARNED + FULL)) == []


def test_a_new_version_of_a_model_begins_anew() -> None:
    watched = learned()
    retrained = (replace(MODEL, version=2, digest="sha256:02"),)
    assert watched.feed(scored(1_000 + n, shift=0.3, models=retrained) for n in range(LEARNED + FULL)) == []
    assert len(watched.feed(scored(2_000 + n, shift=0.6, models=retrained) for n in range(2 * FULL))) == 1


def test_a_verdict_that_is_written_twice_counts_once() -> None:
    watched = learned()
    drifted = [scored(1_000 + n, shift=0.3) for n in range(FULL // 4)]
    assert watched.feed(drifted * 10) == []


def test_a_drift_that_lasts_asks_again_after_the_interval_on_new_evidence_only() -> None:
    watched = learned()
    assert len(watched.feed(scored(1_000 + n, shift=0.3) for n in range(3 * FULL))) == 1
    watched.wait(INTERVAL_S)
    (again,) = watched.feed(scored(2_000 + n, shift=0.3) for n in range(3 * FULL))
    assert again.fired_at_ns - watched.triggers[0].fired_at_ns >= SETTINGS.minimum_interval_ms * 1_000_000


def test_a_drift_that_is_over_is_not_asked_about_again() -> None:
    watched, number = learned(), 1_000
    while not watched.triggers:
        watched.feed([scored(number, shift=0.3)])
        number += 1
    watched.wait(INTERVAL_S)
    assert watched.feed(scored(number + n) for n in range(3 * FULL)) == []


def test_the_interval_holds_for_the_model_over_stations_and_causes() -> None:
    watched = learned()
    other = Watched(last=watched.last)
    other.feed(scored(n, station="aoi-2") for n in range(LEARNED + FULL))
    assert len(watched.feed(scored(1_000 + n, shift=0.3) for n in range(2 * FULL))) == 1
    assert other.feed(scored(1_000 + n, station="aoi-2", shift=0.3) for n in range(2 * FULL)) == []
    assert watched.feed(reviewed(n, VerdictValue.NOT_OK) for n in range(SETTINGS.minimum_reviews)) == []


def test_a_request_of_a_clock_that_ran_ahead_does_not_silence_for_years() -> None:
    watched = learned()
    year_s = 365 * 86_400
    watched.last.note(
        RetrainingTrigger(
            id="x", model="defect_classifier", cause="reviews", station="aoi-1",
            fired_at_ns=watched.at_ns + year_s * S, evidence=(),
        )
    )  # fmt: skip
    assert len(watched.feed(scored(1_000 + n, shift=0.3) for n in range(3 * FULL))) == 1


@pytest.mark.parametrize("crash_after", [1, LEARNED, LEARNED + FULL, LEARNED + FULL + 7, LEARNED + 3 * FULL])
def test_a_replay_asks_for_the_same(crash_after: int) -> None:
    verdicts = [scored(n, shift=0.3 if n >= LEARNED + FULL else 0.0) for n in range(LEARNED + 4 * FULL)]
    straight = Watched()
    straight.feed(verdicts)
    watched = Watched()
    for _, verdict in verdicts[:crash_after]:
        watched.at_ns += S
        watched.watch.recall(verdict, at_ns=watched.at_ns)
    for trigger in straight.triggers:
        if trigger.fired_at_ns <= watched.at_ns:
            watched.last.note(trigger)
            watched.triggers.append(trigger)
    watched.feed(verdicts[crash_after:])
    assert watched.triggers == straight.triggers
    assert len(straight.triggers) == 1


def test_with_one_recipe_and_view_the_distance_is_that_of_the_plain_test() -> None:
    draw = random.Random(3)
    baseline = [draw.gauss(0.4, 0.1) for _ in range(LEARNED)]
    window = [draw.gauss(0.6, 0.1) for _ in range(FULL)]
    shift = ScoreShift(settings=SETTINGS)
    for n, value in enumerate(baseline + window):
        shift.add(Score(recipe="r", view="v", inspection=str(n), value=value, at_ns=n + 1))
    evidence = shift.evidence(since_ns=0)
    plain = ks_2samp(baseline, window, method="asymp")
    assert evidence is not None
    assert evidence.observed == pytest.approx(plain.statistic)
    assert evidence.p_value == pytest.approx(plain.pvalue)


def test_scores_that_are_all_equal_have_not_moved() -> None:
    shift = ScoreShift(settings=replace(SETTINGS, minimum_distance=0.4))
    for n in range(LEARNED + FULL):
        shift.add(Score(recipe="r", view="v", inspection=str(n), value=0.02, at_ns=n + 1))
    assert shift.evidence(since_ns=0) is None


# --- reviews -------------------------------------------------------------------------------------------------------------

COUNT = SETTINGS.minimum_reviews
TOLERATED = int(SETTINGS.disagreement_ratio * COUNT) - 1


def of_the_line(value: VerdictValue = VerdictValue.NOT_OK) -> Watched:
    watched = Watched()
    watched.feed(scored(n, value=value) for n in range(4 * COUNT))
    return watched


def test_reviews_that_disagree_too_often_ask() -> None:
    watched = of_the_line()
    assert watched.feed(reviewed(n, VerdictValue.OK) for n in range(TOLERATED)) == []
    assert watched.feed(reviewed(COUNT + n, VerdictValue.NOT_OK) for n in range(COUNT - TOLERATED)) == []
    (trigger,) = watched.feed([reviewed(3 * COUNT, VerdictValue.OK), reviewed(3 * COUNT + 1, VerdictValue.OK)])
    (evidence,) = trigger.evidence
    assert trigger.id == f"defect_classifier/reviews/{trigger.fired_at_ns}"
    assert evidence.statistic == "review_disagreement_ratio"
    assert (evidence.observed, evidence.sample_size) == (SETTINGS.disagreement_ratio, COUNT)
    assert evidence.examples[-1] == f"aoi-1/{3 * COUNT + 1}/1/2"


def test_a_part_counts_once_by_its_newest_review() -> None:
    watched = of_the_line()
    watched.feed(reviewed(n, VerdictValue.NOT_OK) for n in range(COUNT - 1))
    first = [reviewed(2 * COUNT, VerdictValue.OK, revision=r) for r in range(2, 12)]
    assert watched.feed(first) == []
    taken_back = reviewed(2 * COUNT, VerdictValue.NOT_OK, revision=12)
    read_again = first[0]
    assert watched.feed([taken_back, read_again, reviewed(2 * COUNT + 1, VerdictValue.OK)]) == []


@pytest.mark.parametrize(
    ("line", "person"),
    [(VerdictValue.NOT_DECIDABLE, VerdictValue.OK), (VerdictValue.NOT_OK, VerdictValue.NOT_DECIDABLE)],
)
def test_where_one_side_could_not_decide_there_is_nothing_to_disagree_about(
    line: VerdictValue, person: VerdictValue
) -> None:
    assert of_the_line(line).feed(reviewed(n, person) for n in range(3 * COUNT)) == []


def test_the_lines_own_verdict_can_be_handed_in_for_an_old_part() -> None:
    old = [reviewed(9_000 + n, VerdictValue.NOT_OK) for n in range(2 * COUNT)]
    assert Watched().feed(old) == []
    assert len(Watched().feed(old, line=VerdictValue.OK)) == 1
