"""A dataset is frozen whole, reads as a label file, keeps its sides, and any change of it is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from cli.exits import NotSo
from cli.main import app
from schemas.errors import ConfigurationError
from schemas.object_store import digest_of
from training.dataset_rows import DatasetRow
from training.datasets import Draft, checked, open_dataset, read_rows
from training.labels import Sample, read_samples


def picture(path: Path, seed: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (48, 64), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 3) * 3)
    return path.name


def label_file(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "labels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def some_rows(folder: Path, count: int = 12) -> list[dict[str, Any]]:
    reference = picture(folder / "reference.png", 99)
    kinds: list[dict[str, Any]] = [
        {"boxes": [[1, 2, 20, 30, "open"], [5, 5, 9, 9, "short"]]},
        {"boxes": []},
        {"polygons": [{"class": "crack", "points": [[1, 1], [9, 2], [4, 8]]}], "boxes": [[20, 20, 30, 30, "open"]]},
        {"label": "pitting"},
        {"label": "good", "reference": reference},
    ]
    return [
        {"image": picture(folder / f"{n}.png", n), "group": f"part-{n // 2}", **kinds[n % len(kinds)]}
        for n in range(count)
    ]


def build(*arguments: str | Path) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["datasets", "build", "--json", *map(str, arguments)], catch_exceptions=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def said(sample: Sample) -> tuple[Any, ...]:
    marks = [(region.class_name, region.is_box, region.points.tolist()) for region in sample.regions or ()]
    reference = sample.reference and sample.reference.read_bytes()
    return sample.image.read_bytes(), reference, sample.label, sample.regions is None, sorted(marks)


def test_a_label_file_is_frozen_with_everything_that_it_says(tmp_path: Path) -> None:
    labels = label_file(tmp_path / "in", some_rows(tmp_path / "in"))
    out = tmp_path / "frozen"
    told = build("--labels", labels, "--out", out, "--labelled-by", "anna")
    assert told["images"] == {"train": 10, "test": 2}
    frozen = read_samples(out / "train.jsonl") + read_samples(out / "test.jsonl")
    assert sorted(map(said, frozen), key=str) == sorted(map(said, read_samples(labels)), key=str)
    assert {row.labelled_by for row in read_rows(out)} == {"anna"}
    assert {row.source for row in read_rows(out)} == {f"labels.jsonl:{number}" for number in range(1, 13)}
    assert checked(out) == []
    again = build("--labels", labels, "--out", tmp_path / "again", "--labelled-by", "anna")
    assert again["digest"] == told["digest"] == open_dataset(out).digest


def test_a_dataset_is_never_overwritten_and_what_failed_leaves_nothing_behind(tmp_path: Path) -> None:
    labels = label_file(tmp_path / "in", some_rows(tmp_path / "in"))
    build("--labels", labels, "--out", tmp_path / "out" / "frozen")
    with pytest.raises(ConfigurationError, match="never overwritten"):
        build("--labels", labels, "--out", tmp_path / "out" / "frozen")
    unsaid = label_file(tmp_path / "unsaid", [{"image": picture(tmp_path / "unsaid" / "a.png", 1)}])
    with pytest.raises(ConfigurationError, match=r"labels\.jsonl:1: says nothing"):
        build("--labels", unsaid, "--out", tmp_path / "out" / "other")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["frozen"]


def test_one_picture_with_two_labels_is_left_out_and_one_with_the_same_label_counts_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    contents = [(tmp_path / "in" / picture(tmp_path / "in" / f"{n}.png", n)).read_bytes() for n in range(4)]
    bad: list[list[float | str]] = [[1, 1, 8, 8, "open"]]
    said = [(0, []), (0, []), (1, []), (1, bad), (1, []), (2, bad), (3, [])]
    with Draft(tmp_path / "frozen") as draft:
        for number, (which, boxes) in enumerate(said):
            draft.add(
                DatasetRow(
                    image=draft.keep_picture(contents[which]),
                    digest=digest_of(contents[which]),
                    source=f"review-{number}",
                    part=f"part-{which}",
                    group="",
                    split="train",
                    labelled_by="anna",
                    boxes=boxes,
                )
            )
        told = draft.freeze(made_from="reviews", after=None, seed=1, now_ns=1)
    assert told.left_out == {"repeated": 1, "contradicting_labels": 3}
    left_out = [json.loads(line) for line in (tmp_path / "frozen" / "left_out.jsonl").read_text().splitlines()]
    contradicting = {each["source"] for each in left_out if each["reason"] == "contradicting_labels"}
    assert contradicting == {"review-2", "review-3", "review-4"}
    assert {row.part for row in read_rows(tmp_path / "frozen")} == {"part-0", "part-2", "part-3"}
    assert len(list((tmp_path / "frozen" / "pictures").iterdir())) == 3


def test_later_datasets_keep_the_side_of_every_picture(tmp_path: Path) -> None:
    rows = some_rows(tmp_path / "in", 40)
    first = label_file(tmp_path / "in", rows[:16])
    build("--labels", first, "--out", tmp_path / "one")
    before = {row.digest: row.split for row in read_rows(tmp_path / "one")}
    whole = label_file(tmp_path / "in", rows)
    told = build("--labels", whole, "--out", tmp_path / "two", "--after", tmp_path / "one", "--seed", "7")
    after = {row.digest: row.split for row in read_rows(tmp_path / "two")}
    assert {digest: after[digest] for digest in before} == before
    assert told["images"]["test"] > list(before.values()).count("test")
    assert open_dataset(tmp_path / "two").after == open_dataset(tmp_path / "one").digest


def frozen(tmp_path: Path) -> Path:
    build("--labels", label_file(tmp_path / "in", some_rows(tmp_path / "in")), "--out", tmp_path / "frozen")
    for path in (tmp_path / "frozen").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    return tmp_path / "frozen"


def test_a_changed_picture_and_a_missing_one_are_found(tmp_path: Path) -> None:
    folder = frozen(tmp_path)
    changed, gone, *_ = sorted(row.image for row in read_rows(folder))
    (folder / changed).write_bytes((folder / changed).read_bytes() + b"\0")
    (folder / gone).unlink()
    wrong = checked(folder)
    assert any(line.startswith(f"{changed}: is not the picture") for line in wrong)
    assert any(line.startswith(f"{gone}: No such file") for line in wrong)


def test_a_changed_label_is_found(tmp_path: Path) -> None:
    folder = frozen(tmp_path)
    file = folder / "train.jsonl"
    file.write_text(file.read_text().replace('"open"', '"good"', 1))
    (line,) = checked(folder)
    assert "was frozen" in line


def test_the_check_finds_a_part_on_both_sides_and_exits_with_1(tmp_path: Path) -> None:
    folder = frozen(tmp_path)
    moved, *kept = (folder / "train.jsonl").read_text().splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join(kept))
    with (folder / "test.jsonl").open("a") as file:
        file.write(moved.replace('"split":"train"', '"split":"test"'))
    done = CliRunner().invoke(app, ["datasets", "check", str(folder)])
    assert "1 clusters (part, batch or near-duplicates) are on both sides" in done.stdout
    assert isinstance(done.exception, NotSo)


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["datasets", "show", str(tmp_path)])
    assert isinstance(done.exception, ConfigurationError)
    assert "linesight datasets build" in str(done.exception)
