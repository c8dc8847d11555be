"""What a 640x640 picture costs each family: CPU time and memory of one thread of onnxruntime, as `evaluate` and the local Triton run it.

Each family learns for seconds from a handful of drawn pictures, since the cost depends on the network and not on what it learned. Each is
measured in a process of its own: memory is what that process holds more after answering than with onnxruntime loaded.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import psutil

SIDE_PX = 640
_PICTURES = 16
_ROUNDS = 20
FAMILIES = ("pair_segmenter", "segmenter", "anomaly", "classifier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one family: CPU ms a frame (middle of the rounds), size of the weights, memory."""

    family: str
    ms: float
    weights_mb: float
    memory_mb: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def inference_cost() -> Iterator[Cost]:
    """Of every family that learns."""
    with TemporaryDirectory() as folder:
        labels = _drawn(Path(folder))
        for family in FAMILIES:
            out = Path(folder) / family
            linesight = [sys.executable, "-m", "cli.main", "train", "--labels", str(labels), "--family", family]
            subprocess.run(
                [*linesight, "--out", str(out), "--budget-min", "0.3"], check=True, stderr=subprocess.DEVNULL
            )
            told = subprocess.run(
                [sys.executable, "-m", "benchmarks.inference_cost", str(labels), str(out)],
                check=True,
                stdout=subprocess.PIPE,
            )
            yield Cost(**json.loads(told.stdout))


def measured(labels: Path, model: Path) -> Cost:
    """In this process."""
    from training.labels import read_samples  # noqa: PLC0415  # so that memory is counted from here
    from training.local_inference import open_model  # noqa: PLC0415
    from training.prediction import Model  # noqa: PLC0415
    from training.settings import read_settings  # noqa: PLC0415

    settings = read_settings(model)
    weights = model / "1" / "model.onnx"
    open_model(weights)
    sample = read_samples(labels)[0]
    before = psutil.Process().memory_info().rss
    answers = Model(weights, settings)
    times = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        answers(sample)
        times.append(time.process_time() - begun)
    memory = psutil.Process().memory_info().rss - before
    return Cost(
        family=settings.family,
        ms=round(1000 * statistics.median(times), 1),
        weights_mb=round(weights.stat().st_size / 1e6, 2),
        memory_mb=round(memory / 1e6, 1),
    )


def _drawn(folder: Path) -> Path:
    """Grey noise with bright squares in every other picture."""
    generator = np.random.default_rng(1)
    rows = []
    for index in range(_PICTURES):
        reference = generator.normal(100, 6, (SIDE_PX, SIDE_PX)).clip(0, 255).astype(np.uint8)
        picture, boxes = reference.copy(), []
        if index % 2:
            x, y = (int(v) for v in generator.integers(0, SIDE_PX - 40, 2))
            picture[y : y + 30, x : x + 30] = 210
            boxes = [[x, y, x + 30, y + 30, "square"]]
        cv2.imwrite(str(folder / f"{index}.png"), picture)
        cv2.imwrite(str(folder / f"{index}-good.png"), reference)
        rows.append({"image": f"{index}.png", "reference": f"{index}-good.png", "boxes": boxes})
    labels = folder / "labels.jsonl"
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return labels


if __name__ == "__main__":
    print(json.dumps(measured(Path(sys.argv[1]), Path(sys.argv[2])).as_json()))
