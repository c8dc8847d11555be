"""`make bench-models`: what the model families reach on real data, each beside a plain baseline where there is one.

Reads `../shared/data` (skips what is not there), trains under `run/bench-models`, writes `run/bench-models.json` after every row. Nothing
trained is kept in the repository. Every model goes through `linesight train` and `linesight evaluate`, with nothing but their
flags; `--budget-min` scales the minutes of all of them (their sum, 90 at 1.0, is what the whole takes).

- DeepPCB, designs held out in turn: `pair_segmenter`, one-to-one F1 at an overlap above 0.33.
- DeepPCB, the same designs held out, no real label: `pair_segmenter` from the templates with drawn defects (`--simulate-defects`).
- BSData photos, places of spindles held out: `segmenter`, pixel overlap; baseline: darker or lighter than the surroundings.
- BSData windows with and without pitting, AUROC: `segmenter` and `classifier` beside HOG + linear SVM; `anomaly` (good windows only) beside
  HOG + one-class SVM.
- 20 promotions at 50 frames/s (`benchmarks.model_swap`; 7 minutes): nothing dropped, p99 with and without swaps.
- Inference at 640x640, one thread: ms and MB of each family, of networks that learned nothing (the cost is the same).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.inference_cost import inference_cost
from benchmarks.model_swap import SWAPS, model_swap
from benchmarks.plain_baselines import hog, threshold_overlap
from benchmarks.results_file import Row, load, machine, write
from benchmarks.spindle_windows import place_of, windows

DATA = Path("../shared/data")
RUN = Path("run/bench-models")
HELD_OUT = (
    ("group44000", "group50600", "group77000"),
    ("group00041", "group44000", "group92000"),
    ("group13000", "group20085", "group50600"),
)
BOARD_MIN, SIMULATED_MIN, PHOTO_MIN, WINDOW_MIN = 15.0, 14.0, 9.0, 4.0
"""Minutes of each training; three folds, one simulated, photos, three on windows: 80, and 10 for evaluation and baselines."""

Measured = Iterator[tuple[Row, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """Where the data are, and by how much budgets are scaled."""

    data: Path
    scale: float


def main() -> None:
    """Measures what there is data for, and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of all budgets: 0.1 takes about 12 minutes")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", choices=sorted(PARTS), nargs="*", default=list(PARTS), help="parts to measure")
    options = parser.parse_args()
    begun = time.monotonic()
    machine_then = machine()
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    rows: list[Row] = []
    details: dict[str, Any] = {"scale": options.scale}
    bench = _Bench(data=options.data.resolve(), scale=options.scale)
    for part in options.only:
        for row, detail in PARTS[part](bench):
            rows.append(row)
            details[row.name] = {"found": detail, **load(), "after_min": round((time.monotonic() - begun) / 60, 1)}
            print(row.name, row.value, "" if row.met is None else "met" if row.met else "NOT MET", flush=True)
            write(Path("run/bench-models.json"), rows=rows, machine_then=machine_then, details=details)


def boards(bench: _Bench) -> Measured:
    """DeepPCB by design."""
    rows = _rows(bench.data / "deeppcb")
    for number, held in enumerate(HELD_OUT if rows else (), start=1):
        train, test = [r for r in rows if r["group"] not in held], [r for r in rows if r["group"] in held]
        found = _measured(f"deeppcb fold {number}", "pair_segmenter", train, test, budget_min=BOARD_MIN * bench.scale)
        yield from _f1(f"deeppcb fold {number}", found, class_wise=0.96, agnostic=0.975)


def simulated(bench: _Bench) -> Measured:
    """DeepPCB from good boards: the templates of the designs that are not held out; no label of a real defect."""
    held = HELD_OUT[0]
    rows = _rows(bench.data / "deeppcb")
    if not rows:
        return
    train = [
        {"image": row["template"], "template": row["template"], "group": row["group"], "boxes": []}
        for row in rows
        if row["group"] not in held
    ]
    test = [row for row in rows if row["group"] in held]
    flags = ("--simulate-defects", "dark")
    found = _measured(
        "deeppcb simulated", "pair_segmenter", train, test, budget_min=SIMULATED_MIN * bench.scale, flags=flags
    )
    yield from _f1("deeppcb simulated defects only", found, class_wise=0.90, agnostic=0.94)


def photos(bench: _Bench) -> Measured:
    """BSData, whole photos."""
    train, test = _spindles(bench)
    if not train:
        return
    floor = round(threshold_overlap(train, test), 4)
    yield Row(name="bsdata photos: local threshold pixel_iou", value=floor, unit="ratio"), {"photos": len(test)}
    found = _measured("bsdata photos", "segmenter", train, test, budget_min=PHOTO_MIN * bench.scale)
    value = round(found["pixel_iou"]["value"], 4)
    yield Row(name="bsdata photos: segmenter pixel_iou", value=value, unit="ratio", at_least=floor), found


def spindle_windows(bench: _Bench) -> Measured:
    """BSData, windows of the photos, good and bad ones."""
    train, test = _spindles(bench)
    if not train:
        return
    train, test = windows(train, RUN / "train-windows"), windows(test, RUN / "test-windows")
    plain = hog(train, test)
    labelled, good_only = round(plain.labelled, 4), round(plain.good_only, 4)
    yield Row(name="bsdata windows: HOG + SVM image_auroc", value=labelled, unit="AUROC"), {"windows": len(test)}
    name = "bsdata windows, good only: HOG + one-class SVM image_auroc"
    yield Row(name=name, value=good_only, unit="AUROC"), {"windows": len(test)}
    good = [row for row in train if not row["polygons"]]
    whole = [{key: row[key] for key in ("image", "group", "label")} for row in train]
    for family, learned, floor in (
        ("segmenter", train, labelled),
        ("classifier", whole, labelled),
        ("anomaly", good, good_only),
    ):
        found = _measured(f"bsdata windows {family}", family, learned, test, budget_min=WINDOW_MIN * bench.scale)
        value = round(found["image_auroc"]["value"], 4)
        name = f"bsdata windows{', good only' * (family == 'anomaly')}: {family} image_auroc"
        yield Row(name=name, value=value, unit="AUROC", at_least=floor), found


def cost(bench: _Bench) -> Measured:
    """Inference of each family."""
    for found in inference_cost():
        yield Row(name=f"inference 640x640: {found.family}", value=found.ms, unit="ms CPU per frame"), found.as_json()
        yield Row(name=f"inference 640x640: {found.family}, weights", value=found.weights_mb, unit="MB"), None
        yield Row(name=f"inference 640x640: {found.family}, memory", value=found.memory_mb, unit="MB"), None


def swaps(bench: _Bench) -> Measured:
    """Promotions under load; the number of swaps is scaled as the budgets are."""
    section = model_swap(swaps=max(1, round(SWAPS * bench.scale)))
    for row in section.rows:
        yield row, section.raw


PARTS: dict[str, Callable[[_Bench], Measured]] = {
    "cost": cost,
    "boards": boards,
    "simulated": simulated,
    "photos": photos,
    "windows": spindle_windows,
    "swaps": swaps,
}


def _f1(name: str, found: dict[str, Any], *, class_wise: float, agnostic: float) -> Measured:
    for key, floor in (("f1_class_wise_mean", class_wise), ("f1_class_agnostic", agnostic)):
        yield Row(name=f"{name}: {key}", value=round(found[key]["value"], 4), unit="F1", at_least=floor), found


def _spindles(bench: _Bench) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows = _rows(bench.data / "bsdata")
    for row in rows:
        row["group"] = place_of(row["image"])
    held = set(sorted({row["group"] for row in rows})[::3])
    return [row for row in rows if row["group"] not in held], [row for row in rows if row["group"] in held]


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


def _measured(
    name: str, family: str, train: Sequence[Any], test: Sequence[Any], *, budget_min: float, flags: Sequence[str] = ()
) -> dict[str, Any]:
    """What `linesight evaluate` says of what `linesight train` made."""
    folder = RUN / name.replace(" ", "-")
    for side, rows in (("train", train), ("test", test)):
        Path(f"{folder}-{side}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    linesight = [sys.executable, "-m", "cli.main"]
    begun = time.monotonic()
    subprocess.run(
        [
            *linesight,
            *("train", "--labels", f"{folder}-train.jsonl", "--family", family, "--out", str(folder), *flags),
            *("--budget-min", str(budget_min)),
        ],
        check=True,
    )
    trained_min = (time.monotonic() - begun) / 60
    told = subprocess.run(
        [*linesight, "evaluate", "--labels", f"{folder}-test.jsonl", "--model", str(folder), "--json"],
        check=True,
        stdout=subprocess.PIPE,
    )
    result: dict[str, Any] = json.loads(told.stdout)
    return {"budget_min": budget_min, "trained_min": round(trained_min, 2), **result}


if __name__ == "__main__":
    main()
