"""What a person relies on who types `linesight inspect`: a row per picture, whatever the pictures are, and an honest score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from linesight import Linesight

from ops.local.places import CHECKOUT
from simulation import boards, imaging
from simulation.defects import DefectKind

pytestmark = pytest.mark.timeout(600)

PLANT = CHECKOUT / "plants" / "pcb.yaml"
REAL_ROWS_EVERY = 8


def test_good_bad_and_broken_pictures(linesight: Linesight, tmp_path: Path) -> None:
    labels = _drawn_set(tmp_path)
    out = tmp_path / "rows.jsonl"
    done = linesight.run("inspect", "--plant", PLANT, "--labels", labels, "--out", out, "--json", within_s=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert linesight.left_behind() == []
    rows = {row["image"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert list(rows) == [json.loads(line)["image"] for line in labels.read_text().splitlines()]
    assert rows["good.png"]["verdict"] == "OK"
    assert rows["open.png"]["verdict"] == "NOT_OK"
    assert rows["open.png"]["reasons"] == ["defect"]
    assert {"class", "score", "box"} <= rows["open.png"]["defects"][0].keys()
    assert rows["truncated.png"]["verdict"] == "NOT_DECIDABLE"
    assert rows["truncated.png"]["reasons"] == ["view_dropped", "undecodable_image"]
    assert rows["absent.png"]["reasons"] == ["view_dropped", "undecodable_image"]
    assert rows["no-template.png"]["reasons"] == ["view_dropped", "missing_reference"]
    report: dict[str, Any] = json.loads((linesight.run_dir / "inspect.json").read_text())
    assert report["ledger"]["balanced"]
    assert report["dead_letters"] == {"undecodable_image": 2, "missing_reference": 1}
    assert report["frames"]["published"] == len(rows)
    assert report["commands"]["acknowledged"] == len(rows)
    assert report["scores"]["all"]["parts"]["escapes"] == 0


def test_a_list_without_labels_gives_results_only_and_needs_no_network(
    linesight: Linesight, tmp_path: Path, alone: list[str]
) -> None:
    labels = _drawn_set(tmp_path)
    without = tmp_path / "without.jsonl"
    kept = [json.loads(line) for line in labels.read_text().splitlines()][:2]
    without.write_text("".join(json.dumps({"image": row["image"], "template": row["template"]}) + "\n" for row in kept))
    rows = tmp_path / "r.jsonl"
    done = linesight.run("inspect", "--plant", PLANT, "--labels", without, "--out", rows, within_s=300, before=alone)
    assert done.returncode == 0, done.stderr[-4000:]
    assert linesight.left_behind() == []
    assert [json.loads(line)["verdict"] for line in rows.read_text().splitlines()] == ["OK", "NOT_OK"]
    assert json.loads((linesight.run_dir / "inspect.json").read_text())["scores"] == {}


def test_a_plant_without_an_external_camera_is_refused(linesight: Linesight, tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"image": "a.png"}\n')
    done = linesight.run("inspect", "--plant", CHECKOUT / "plants" / "demo.yaml", "--labels", labels, within_s=60)
    assert done.returncode == 2
    assert "exactly one camera with `source: {type: external}`" in done.stderr


def test_real_boards_reach_their_figures(linesight: Linesight, shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "deeppcb" / "labels.jsonl"
    chosen = source.read_text().splitlines()[::REAL_ROWS_EVERY]
    labels = tmp_path / "labels.jsonl"
    with labels.open("w") as file:
        for line in chosen:
            row = json.loads(line)
            row |= {key: str(source.parent / row[key]) for key in ("image", "template")}
            file.write(json.dumps(row) + "\n")
    done = linesight.run("inspect", "--plant", PLANT, "--labels", labels, "--out", tmp_path / "r.jsonl", within_s=540)
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads((linesight.run_dir / "inspect.json").read_text())
    assert report["ledger"]["balanced"]
    score = report["scores"]["all"]
    assert score["class_agnostic"]["f1"] >= 0.92
    assert score["class_wise"]["f1"] >= 0.90
    assert score["class_wise_mean_f1"] >= 0.90


def _drawn_set(folder: Path) -> Path:
    """Near-binary boards with dark copper, as `plants/pcb.yaml` expects: good, with a defect, and broken in three ways."""
    rng = np.random.default_rng(11)
    reference = _binary(boards.reference("controller", "left"))
    cv2.imwrite(str(folder / "template.png"), reference)
    drawn = boards.draw_part(design="controller", defects=[DefectKind.OPEN] * 4, rng=rng)
    view, bad = next((name, item) for name, item in drawn.items() if item.defects)
    cv2.imwrite(str(folder / "bad-template.png"), _binary(boards.reference("controller", view)))
    cv2.imwrite(str(folder / "open.png"), _binary(imaging.nominal(bad.scene)))
    cv2.imwrite(str(folder / "good.png"), reference)
    cv2.imwrite(str(folder / "no-template.png"), reference)
    (folder / "truncated.png").write_bytes((folder / "good.png").read_bytes()[:600])
    offset = imaging.BORDER_PX
    boxes = [[*(int(value) - offset for value in defect.box), defect.kind.value] for defect in bad.defects]
    rows = [
        {"image": "good.png", "template": "template.png", "boxes": []},
        {"image": "open.png", "template": "bad-template.png", "boxes": boxes},
        {"image": "truncated.png", "template": "template.png"},
        {"image": "absent.png", "template": "template.png"},
        {"image": "no-template.png", "template": "nowhere.png"},
    ]
    labels = folder / "labels.jsonl"
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return labels


def _binary(image: np.ndarray) -> np.ndarray:
    """Dark copper on a light board."""
    return np.where(image > (boards.COPPER_GREY + boards.SUBSTRATE_GREY) / 2, 0, 255).astype(np.uint8)
