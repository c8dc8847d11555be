"""`make bench-models`: what the model families reach on real data, each beside a plain baseline where there is one.

Reads `../shared/data` (skips what is not there), trains under `run/bench-models`, writes `run/bench-models.json`. Nothing
trained is kept in the repository. `--budget-min` is per model. Every model goes through `linesight train` and `linesight
evaluate`, with nothing but their flags.

- DeepPCB, designs held out in turn: `pair_segmenter`, one-to-one F1 at an overlap above 0.33.
- BSData, split by spindle and position: `segmenter`, pixel overlap on whole images.
- BSData windows: cut into squares of 112 px with and without pitting; AUROC of `segmenter`, of `anomaly` (good windows only) and of
  HOG + linear SVM (Dalal and Triggs, CVPR 2005; OpenCV) with the same labels.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.results_file import Row, machine, write
from processors.learned.form import Picture
from training.figures import auroc
from training.pictures import read_picture

DATA = Path("../shared/data")
RUN = Path("run/bench-models")
HELD_OUT = (
    ("group44000", "group50600", "group77000"),
    ("group00041", "group44000", "group92000"),
    ("group13000", "group20085", "group50600"),
)
WINDOW_PX = 112
_LEAST_BAD_PX = 20


def main() -> None:
    """Measures what there is data for, and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget-min", type=float, default=14.0, help="of each of the six models")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    machine_then = machine()
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    rows: list[Row] = []
    details: dict[str, Any] = {"budget_min": options.budget_min}
    for measured in (boards, spindles):
        for row, detail in measured(options.data.resolve(), options.budget_min):
            rows.append(row)
            details[row.name] = detail
            print(row.name, row.value, "" if row.met is None else "met" if row.met else "NOT MET", flush=True)
            write(Path("run/bench-models.json"), rows=rows, machine_then=machine_then, details=details)


def boards(data: Path, budget_min: float) -> Iterator[tuple[Row, Any]]:
    """DeepPCB by design."""
    rows = _rows(data / "deeppcb")
    for number, held in enumerate(HELD_OUT if rows else (), start=1):
        name = f"deeppcb fold {number}"
        train = [row for row in rows if row["group"] not in held]
        result = _measured(name, "pair_segmenter", train, [row for row in rows if row["group"] in held], budget_min)
        for key, floor in (("f1_class_wise_mean", 0.96), ("f1_class_agnostic", 0.975)):
            value = result[key]["value"]
            yield Row(name=f"{name}: {key}", value=round(value, 4), unit="F1", at_least=floor), result


def spindles(data: Path, budget_min: float) -> Iterator[tuple[Row, Any]]:
    """BSData: whole images, then windows of them."""
    rows = _rows(data / "bsdata")
    if not rows:
        return
    for row in rows:
        row["group"] = Path(row["image"]).name.split("_crop")[0].split("_", 3)[-1]
    held = set(sorted({row["group"] for row in rows})[::3])
    train, test = [r for r in rows if r["group"] not in held], [r for r in rows if r["group"] in held]
    result = _measured("bsdata images", "segmenter", train, test, budget_min)
    yield Row(name="bsdata pixel_iou", value=round(result["pixel_iou"]["value"], 4), unit="ratio"), result
    train, test = _windows(train, RUN / "train-windows"), _windows(test, RUN / "test-windows")
    baseline = round(_hog_svm(train, test), 4)
    yield Row(name="bsdata windows: HOG + SVM image_auroc", value=baseline, unit="AUROC"), {"windows": len(test)}
    good = [row for row in train if not row["polygons"]]
    for family, learned in (("segmenter", train), ("anomaly", good)):
        result = _measured(f"bsdata windows {family}", family, learned, test, budget_min)
        value = round(result["image_auroc"]["value"], 4)
        yield Row(name=f"bsdata windows: {family} image_auroc", value=value, unit="AUROC", at_least=baseline), result


def _rows(folder: Path) -> list[dict[str, Any]]:
    file = folder / "labels.jsonl"
    if not file.exists():
        print(f"{file}: not there, skipped")
        return []
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        for key in {"image", "template"} & row.keys():
            row[key] = str(folder / row[key])
    return rows


def _measured(name: str, family: str, train: Sequence[Any], test: Sequence[Any], budget_min: float) -> dict[str, Any]:
    folder = RUN / name.replace(" ", "-")
    for side, rows in (("train", train), ("test", test)):
        Path(f"{folder}-{side}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    linesight = [sys.executable, "-m", "cli.main"]
    subprocess.run(
        [
            *linesight,
            *("train", "--labels", f"{folder}-train.jsonl", "--family", family, "--out", str(folder)),
            *("--budget-min", str(budget_min)),
        ],
        check=True,
    )
    told = subprocess.run(
        [*linesight, "evaluate", "--labels", f"{folder}-test.jsonl", "--model", str(folder), "--json"],
        check=True,
        stdout=subprocess.PIPE,
    )
    result: dict[str, Any] = json.loads(told.stdout)
    return result


def _windows(rows: Sequence[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Squares of the images, with the pitting in them; squares with a few px of it are left out, being neither."""
    folder.mkdir()
    windows: list[dict[str, Any]] = []
    for row in rows:
        picture = read_picture(Path(row["image"]))
        if picture is None:
            raise OSError(f"{row['image']}: does not decode")
        mask = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.rint(polygon).astype(np.int32) for polygon in row["polygons"]], 1)
        for top in range(0, picture.shape[0] - WINDOW_PX + 1, WINDOW_PX):
            for left in range(0, picture.shape[1] - WINDOW_PX + 1, WINDOW_PX):
                place = np.s_[top : top + WINDOW_PX, left : left + WINDOW_PX]
                pitted = int(mask[place].sum())
                if 0 < pitted < _LEAST_BAD_PX:
                    continue
                path = (folder / f"{len(windows)}.png").absolute()
                cv2.imwrite(str(path), picture[place])
                outlines, _ = cv2.findContours(mask[place], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
                polygons = [np.reshape(outline, (-1, 2)).tolist() for outline in outlines if len(outline) >= 3]
                if bool(polygons) == (pitted > 0):
                    windows.append(
                        {"image": str(path), "group": row["group"], "label": "pitting", "polygons": polygons}
                    )
    return windows


def _grey(path: str) -> Picture:
    return np.asarray(cv2.imread(path, cv2.IMREAD_GRAYSCALE), np.uint8)


def _hog_svm(train: Sequence[dict[str, Any]], test: Sequence[dict[str, Any]]) -> float:
    """AUROC of the plain baseline on the test windows."""
    hog = cv2.HOGDescriptor((WINDOW_PX, WINDOW_PX), (16, 16), (8, 8), (8, 8), 9)

    def features(rows: Sequence[dict[str, Any]]) -> Any:
        return np.stack([np.ravel(hog.compute(_grey(row["image"]))) for row in rows])

    svm = cv2.ml.SVM_create()  # type: ignore[attr-defined]  # OpenCV's stubs lack its ml module
    svm.setKernel(cv2.ml.SVM_LINEAR)
    svm.setC(0.01)
    svm.train(features(train), cv2.ml.ROW_SAMPLE, np.array([int(bool(row["polygons"])) for row in train]))
    _, raw = svm.predict(features(test), flags=cv2.ml.STAT_MODEL_RAW_OUTPUT)
    bad = [bool(row["polygons"]) for row in test]
    found = auroc(np.ravel(raw).tolist(), bad) or 0.5
    _, trained = svm.predict(features(train), flags=cv2.ml.STAT_MODEL_RAW_OUTPUT)
    # which side is positive is the solver's choice; decided on the training windows
    side = auroc(np.ravel(trained).tolist(), [bool(row["polygons"]) for row in train]) or 0.5
    return found if side >= 0.5 else 1 - found


if __name__ == "__main__":
    main()
