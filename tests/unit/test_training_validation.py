"""Which pictures thresholds are chosen on, and what they are chosen for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from training.evaluation import Judged, figures
from training.labels import Region, Sample
from training.prediction import Answer
from training.settings import ModelSettings
from training.validation import answers, part_threshold, tuned

SETTINGS = ModelSettings(family="segmenter", classes=["crack"], colour=False, scale=1.0, paired=False)


def sample(index: int, *, bad: bool, regions: tuple[Region, ...] | None = None) -> Sample:
    return Sample(
        line=index,
        name=f"{index}.png",
        image=Path(f"{index}.png"),
        reference=None,
        group="",
        regions=regions,
        label="crack" if bad else "good",
        size_px=(64, 64),
    )


def answering(score_of: Any) -> Any:
    """A model in as far as these functions use one."""

    class Answering(SimpleNamespace):
        def __call__(self, asked: Sample) -> Answer:
            return Answer(score=score_of(asked), class_name="crack")

    return Answering(settings=SETTINGS)


def test_the_few_bad_parts_are_seen_although_time_is_short() -> None:
    """1 % bad of 1,000, and no time left: they are among the first."""
    samples = [sample(index, bad=index % 100 == 0) for index in range(1000)]
    done = answers(answering(lambda asked: 0.5), samples, until=0.0, seed=1)
    assert len(done) == 24
    assert sum(bool(asked.bad) for asked, _ in done) == 10


def test_costs_are_those_of_the_shares_in_the_file_not_of_what_was_seen() -> None:
    """Of 990 good parts 10 are seen, and one of them scores as the bad ones do: that stands for 99 parts, not for one."""
    held = [sample(index, bad=index < 10) for index in range(1000)]
    seen = [(one, Answer(score=0.9, class_name="crack")) for one in held[:10]]
    seen += [(one, Answer(score=0.1, class_name="crack")) for one in held[10:19]]
    seen += [(held[19], Answer(score=0.95, class_name="crack"))]
    few = part_threshold(SETTINGS, seen, [one for one, _ in seen], escape_cost=2, overkill_cost=1)
    all_of_them = part_threshold(SETTINGS, seen, held, escape_cost=2, overkill_cost=1)
    assert few.escapes == 0
    assert (all_of_them.escapes, all_of_them.overkill) == (10, 0)


def test_of_many_bad_parts_few_are_seen_and_each_stands_for_more() -> None:
    """100 are bad, 2 were seen; 30 of 100 good ones score above them: passing 100 costs more than rejecting 30."""
    held = [sample(index, bad=index < 100) for index in range(200)]
    seen = [(one, Answer(score=0.5, class_name="crack")) for one in held[:2]]
    seen += [(one, Answer(score=0.6 if one.line < 130 else 0.1, class_name="crack")) for one in held[100:]]
    chosen = part_threshold(SETTINGS, seen, held, escape_cost=1, overkill_cost=1)
    assert (chosen.escapes, chosen.overkill) == (0, 30)


@pytest.mark.parametrize("strength", [80, 140, 200])
def test_places_are_cut_where_outlines_fit_best(strength: int) -> None:
    """The map says `strength` inside the outline and half of it around: the threshold falls between."""
    outline = Region(
        class_name="crack", points=np.array([(16, 16), (47, 16), (47, 47), (16, 47)], np.float32), is_box=False
    )
    shown = np.full((32, 32), strength // 4, np.uint8)
    shown[4:28, 4:28] = strength // 2
    shown[8:24, 8:24] = strength
    marked = sample(1, bad=True, regions=(outline,))
    answer = Answer(score=1.0, class_name="crack", strength=shown, named=np.zeros((32, 32), np.uint8))
    chosen = tuned(answering(lambda asked: 0.5), [(marked, answer)])
    assert strength / 2 / 255 < chosen.map_threshold <= strength / 255
    assert chosen.box_threshold == 0.0


def judged(**other: Any) -> Judged:
    row = {"image": "a", "score": 0.9, "class": "crack", "boxes": []}
    return Judged(**{"row": row, "classified": False, "bad": True, "label": "crack", "rejected": True, **other})


def test_accuracy_is_of_classes_of_whole_pictures_only() -> None:
    assert figures([judged(classified=True), judged(classified=True, label="dent")])["accuracy"]["value"] == 0.5
    assert "accuracy" not in figures([judged(), judged(label="dent")])


def test_the_figures_need_no_boxes() -> None:
    """`evaluate` writes them and lets them go."""
    rows = [{"score": 0.9, "class": "crack"}, {"score": 0.1, "class": "good"}]
    told = figures([judged(row=rows[0]), judged(row=rows[1], bad=False, label="good", rejected=False)])
    assert told["image_auroc"]["value"] == 1.0
    assert msgspec.json.encode(told)


def boxed(weak: int) -> tuple[Sample, Answer]:
    """A marked region that is found strongly, and a place with strength `weak` where nothing is marked."""
    box = Region(class_name="crack", points=np.array([(8, 8), (24, 8), (24, 24), (8, 24)], np.float32), is_box=True)
    shown = np.zeros((32, 32), np.uint8)
    shown[4:12, 4:12] = 250
    shown[20:28, 20:28] = weak
    answer = Answer(score=1.0, class_name="crack", strength=shown, named=np.zeros((32, 32), np.uint8))
    return sample(1, bad=True, regions=(box,)), answer


def test_a_weak_place_without_a_mark_is_left_out() -> None:
    chosen = tuned(answering(lambda asked: 0.5), [boxed(190)])
    assert max(chosen.map_threshold, chosen.box_threshold) > 190 / 255


def test_where_everything_fits_the_usual_thresholds_stay() -> None:
    chosen = tuned(answering(lambda asked: 0.5), [boxed(0)])
    assert (chosen.map_threshold, chosen.box_threshold) == (0.5, 0.7)
