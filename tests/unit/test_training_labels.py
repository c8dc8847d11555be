"""Label files for training: what is understood, and how every mistake is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from schemas.errors import ConfigurationError
from training.labels import GOOD, Sample, read_samples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, grey in (("a", 91), ("b", 90), ("copy of b", 90)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((30, 40), grey, np.uint8))
    (tmp_path / "no.png").write_bytes(b"no picture")
    return tmp_path


def written(folder: Path, *rows: Any) -> Path:
    file = folder / "labels.jsonl"
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return file


def one(folder: Path, **row: Any) -> Sample:
    (sample,) = read_samples(written(folder, {"image": "a.png", **row}))
    return sample


def test_boxes_polygons_and_labels_may_be_mixed(folder: Path) -> None:
    both = one(folder, boxes=[[1, 2, 10, 12, 3]], polygons=[{"class": "crack", "points": [[1, 1], [30, 1], [30, 20]]}])
    assert [region.class_name for region in both.regions or ()] == ["mousebite", "crack"]
    assert (both.regions or ())[0].box == (1, 2, 10, 12)
    assert both.label == "crack"  # the larger one names the part


def test_one_label_names_all_bare_polygons(folder: Path) -> None:
    sample = one(folder, label="pitting", polygons=[[[1, 1], [5, 1], [5, 5]]])
    assert [region.class_name for region in sample.regions or ()] == ["pitting"]


@pytest.mark.parametrize(
    ("row", "bad"),
    [
        ({}, None),
        ({"boxes": []}, False),
        ({"polygons": [], "label": "pitting"}, False),
        ({"label": "OK"}, False),
        ({"label": 0}, False),
        ({"label": 1}, True),
        ({"label": 0.3333}, False),
        ({"label": 0.6667}, True),
        ({"label": "scratch"}, True),
    ],
)
def test_what_makes_a_part_bad(folder: Path, row: dict[str, Any], bad: bool | None) -> None:
    sample = one(folder, **row)
    assert sample.bad is bad
    assert (sample.label == GOOD) is (bad is False)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "expected one JSON object a line"),
        ([1], "expected a JSON object, got list"),
        ({"picture": "a.png"}, "image: expected a path, got None"),
        ({"image": "gone.png"}, "no such file; paths are relative to the label file"),
        ({"image": "no.png"}, "got what does not decode"),
        ({"image": "a.png", "template": "gone.png"}, "reference: "),
        ({"image": "a.png", "boxes": [[1, 2, 3]]}, "boxes: expected [x1, y1, x2, y2, class]"),
        ({"image": "a.png", "boxes": [[5, 2, 3, 9, "x"]]}, "boxes: expected x1 < x2 and y1 < y2"),
        ({"image": "a.png", "boxes": [[1, 2, 50, 9, "x"]]}, "is outside the image, which is 40 x 30 px"),
        ({"image": "a.png", "boxes": [[1, 2, "3", 9, "x"]]}, "boxes: expected finite numbers in px"),
        ({"image": "a.png", "boxes": 3}, "boxes: expected a list, got 3"),
        ({"image": "a.png", "polygons": [[[1, 1], [2, 2]]]}, "polygons: expected at least three [x, y]"),
        ({"image": "a.png", "polygons": [{"points": [[1, 1], [2, 2], [9]]}]}, "polygons: expected points [x, y]"),
        ({"image": "a.png", "polygons": [[[1, 1], [2, 2], [9, 99]]]}, "polygons: [1.0, 1.0, 9.0, 99.0] is outside"),
        (
            {"image": "a.png", "boxes": [[1, 2, 5, 9, "x"]], "label": "good"},
            "says a good part, but 1 defects are marked",
        ),
        ({"image": "a.png", "boxes": [], "label": "bad"}, "says a bad part, but `boxes` is empty"),
        ({"image": "b.png", "label": "scratch"}, "image: b.png was labelled otherwise in line 1"),
        ({"image": "copy of b.png", "label": "dent"}, "labelled otherwise in line 1, where the same picture is b.png"),
        ({"image": "a.png", "label": 3.5}, "the share of graders who called it bad (0 to 1), got 3.5"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(folder: Path, row: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_samples(written(folder, {"image": "b.png", "label": "good"}, row))
    assert str(refused.value).startswith(f"{folder / 'labels.jsonl'}:2: ")
    assert said in str(refused.value)


def test_an_empty_file_and_a_missing_one_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="no rows"):
        read_samples(written(folder, "", " "))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_samples(folder / "gone.jsonl")


def test_the_same_row_twice_counts_once(folder: Path) -> None:
    row = {"image": "a.png", "boxes": [[1, 2, 10, 12, "x"]]}
    assert len(read_samples(written(folder, row, row))) == 1
