"""Scores golden comparison on simulated parts with known truth, in this process: escapes, overkill, and time per step.

python -m training.evaluate_parts --parts 2000 --seed 1 --lighting-drift 1.0
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.progress import track

from processors.golden.alignment import AlignmentFailed
from processors.golden.comparison import GoldenComparison
from processors.golden.findings import anomaly_score
from processors.scoring import overlap_ratio, score_parts
from schemas.inspections import Defect
from schemas.recipes import GoldenInspection
from simulation.boards import DESIGNS, VIEWS, TrueDefect, draw_part, reference
from simulation.defects import DefectKind
from simulation.imaging import Misregistration, capture
from simulation.pictures import JPEG_QUALITY
from training.local_inference import Classification, Comparison

DEMO_SETTINGS = GoldenInspection()
"""As plants/demo.yaml sets them."""


@dataclass(frozen=True, slots=True)
class _Line:
    """The models, the references, and what was measured."""

    compare: Comparison
    classify: Classification
    comparisons: dict[tuple[str, str], GoldenComparison]
    times_ms: dict[str, list[float]] = field(default_factory=dict)
    scores: list[float] = field(default_factory=list)

    def inspect(self, design: str, view: str, encoded: npt.NDArray[np.uint8]) -> tuple[Defect, ...]:
        comparison = self.comparisons[design, view]
        clock = _Clock(self.times_ms)
        frame = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)
        clock.lap("decode")
        laid = comparison.lay_over(frame)
        clock.lap("align")
        difference = self.compare(laid.image, comparison.half_reference)
        clock.lap("golden_compare")
        candidates = comparison.candidates(laid, difference)
        clock.lap("candidates")
        crops = comparison.crops(laid, candidates)
        probabilities = self.classify(crops) if candidates else np.zeros((0, 7), np.float32)
        clock.lap("classify")
        self.scores.append(anomaly_score(difference, probabilities))
        return comparison.defects(laid, candidates, probabilities)


class _Clock:
    def __init__(self, times_ms: dict[str, list[float]]) -> None:
        self._times_ms = times_ms
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self._times_ms.setdefault(step, []).append((now - self._last) * 1e3)
        self._last = now


def main(
    *,
    parts: Annotated[int, typer.Option(help="parts to draw, three views each")] = 2000,
    seed: Annotated[int, typer.Option(help="of the parts and of the camera")] = 1,
    bad_ratio: Annotated[float, typer.Option(help="share of bad parts, one or two defects each")] = 0.12,
    lighting_drift: Annotated[float, typer.Option(help="how far the lamp has aged, 0 to 1")] = 0.0,
    design: Annotated[str | None, typer.Option(help="one design only; all in turn otherwise")] = None,
) -> None:
    """Prints verdicts against truth, defects by class, and ms per step."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    designs = [design] if design else list(DESIGNS)
    line = _Line(
        Comparison(),
        Classification(),
        {(d, v): GoldenComparison(reference=reference(d, v), settings=DEMO_SETTINGS) for d in designs for v in VIEWS},
    )
    verdicts: list[tuple[bool, bool]] = []
    escaped: Counter[str] = Counter()
    named: Counter[tuple[str, str]] = Counter()
    for number in track(range(parts), description="parts"):
        product = designs[number % len(designs)]
        kinds = (
            [DefectKind(k) for k in rng.choice(list(DefectKind), rng.integers(1, 3))]
            if rng.random() < bad_ratio
            else []
        )
        drawn = draw_part(design=product, defects=kinds, rng=rng)
        rejected = False
        for view in VIEWS:
            taken = capture(drawn[view].scene, rng=rng, lighting_drift_ratio=lighting_drift)
            _, encoded = cv2.imencode(".jpg", taken.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            try:
                defects = line.inspect(product, view, np.asarray(encoded, np.uint8))
            except AlignmentFailed as reason:
                Console(stderr=True).print(f"part {number}, {view}: {reason}")
                defects = ()
            rejected = rejected or bool(defects)
            named.update((truth, found) for truth, found in _pairs(drawn[view].defects, taken.placement, defects))
        verdicts.append((bool(kinds), rejected))
        if kinds and not rejected:
            escaped.update(kind.value for kind in kinds)
    console = Console()
    console.print(score_parts(verdicts))
    console.print(
        "escaped:", dict(escaped), " wrongly named or missed:", {k: n for k, n in named.items() if k[0] != k[1]}
    )
    console.print("rightly named:", sum(n for k, n in named.items() if k[0] == k[1]), "of", sum(named.values()))
    console.print(
        "ms per step (median, 99 %):",
        {
            step: (round(float(np.median(t)), 2), round(float(np.percentile(t, 99)), 2))
            for step, t in line.times_ms.items()
        },
    )
    console.print("anomaly score at 5, 50, 95 %:", np.percentile(line.scores, (5, 50, 95)).round(3).tolist())


def _pairs(
    truth: tuple[TrueDefect, ...], placement: Misregistration, defects: tuple[Defect, ...]
) -> Iterator[tuple[str, str]]:
    """(true kind, found class) of each true defect, `missed` where nothing was found at its place."""
    for true in truth:
        box = placement.map_box(true.box)
        overlaps = [(overlap_ratio(box, defect.box), defect.class_name) for defect in defects]
        best, name = max(overlaps, default=(0.0, ""))
        yield true.kind.value, name if best > 0.0 else "missed"


if __name__ == "__main__":
    typer.run(main)
