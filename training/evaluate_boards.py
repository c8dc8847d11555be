"""Scores golden comparison on labelled pairs of bare boards, in this process: the line's code without Kafka and Triton.

    python -m training.evaluate_boards --labels labels.jsonl

reads rows `{"image", "template", "group", "boxes": [[x1, y1, x2, y2, type], ...]}` (the format of DeepPCB's labels).
The score threshold is chosen on some board designs (`group`) and reported on the others, in turn for every design. With
`--as-photo` the pairs become grey pictures first, shifted, turned, blurred, noisy and unevenly lit, so that nothing
rests on images being black and white.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from processors.golden.alignment import AlignmentFailed, Motion
from processors.golden.classes import CLASS_BY_DEEPPCB_TYPE, DEFECT_CLASSES
from processors.golden.comparison import GoldenComparison
from processors.scoring import Finding, Label, Score, score
from schemas.recipes import GoldenInspection
from training.local_inference import Classification, Comparison

BOARD_SETTINGS = GoldenInspection(
    copper="dark",
    difference_threshold=100,
    minimum_area_px=10,
    merge_distance_px=10,
    box_margin_px=10,
    minimum_score=0.0,
    max_shift_px=16,
    minimum_alignment_quality=0.2,
)
"""As plants/pcb.yaml sets them, but for the score threshold, which is chosen here."""
_THRESHOLDS = tuple(round(0.2 + 0.05 * step, 2) for step in range(16))

Image = npt.NDArray[np.uint8]


class _Row(msgspec.Struct):
    image: str
    template: str
    group: str
    boxes: list[tuple[int, int, int, int, int]]


@dataclass(frozen=True, slots=True)
class _Judged:
    """One image: what was found above score 0, and what is marked."""

    group: str
    findings: list[Finding]
    labels: list[Label]


def main(
    *,
    labels: Annotated[Path, typer.Option(help="JSON lines; image paths are relative to it", exists=True)],
    as_photo: Annotated[bool, typer.Option(help="turn the pairs into uneven grey pictures first")] = False,
    seed: Annotated[int, typer.Option(help="of the grey pictures")] = 0,
) -> None:
    """Prints the scores of every held-out board design and of all of them together."""
    rng = np.random.default_rng(seed) if as_photo else None
    judged = list(_judge(labels, rng))
    groups = sorted({item.group for item in judged})
    table = Table("held out", "images", "threshold", "located F1", "class F1", "mean F1", *DEFECT_CLASSES)
    everything: list[_Judged] = []
    for group in groups:
        threshold = _best_threshold([item for item in judged if item.group != group])
        kept = [_above(item, threshold) for item in judged if item.group == group]
        everything += kept
        table.add_row(group, str(len(kept)), f"{threshold:.2f}", *_figures(_score(kept)))
    table.add_row("all, held out", str(len(everything)), "", *_figures(_score(everything)))
    threshold = _best_threshold(judged)
    chosen_on_all = [_above(item, threshold) for item in judged]
    table.add_row("all, chosen on all", str(len(judged)), f"{threshold:.2f}", *_figures(_score(chosen_on_all)))
    Console(width=160).print(table)


def _judge(labels: Path, rng: np.random.Generator | None) -> Iterator[_Judged]:
    rows = [msgspec.json.decode(line, type=_Row) for line in labels.read_bytes().splitlines()]
    compare, classify = Comparison(), Classification()
    for row in track(rows, description="boards"):
        image, reference = _grey(labels.parent / row.image), _grey(labels.parent / row.template)
        motion = Motion.rigid(frame_shape=image.shape)
        if rng is not None:
            image, reference, motion = _as_photo(image, reference, rng)
        height, width = image.shape
        marked = [
            Label(
                class_name=CLASS_BY_DEEPPCB_TYPE[kind],
                box=motion.map_box((x1, y1, x2, y2), width_px=width, height_px=height),
            )
            for x1, y1, x2, y2, kind in row.boxes
        ]
        yield _Judged(row.group, _inspect(image, reference, compare, classify), marked)


def _inspect(image: Image, reference: Image, compare: Comparison, classify: Classification) -> list[Finding]:
    comparison = GoldenComparison(reference=reference, settings=BOARD_SETTINGS)
    try:
        laid = comparison.lay_over(image)
    except AlignmentFailed as reason:
        Console(stderr=True).print(f"not judged: {reason}")
        return []
    candidates = comparison.candidates(laid, compare(laid.image, comparison.half_reference))
    if not candidates:
        return []
    defects = comparison.defects(laid, candidates, classify(comparison.crops(laid, candidates)))
    return [Finding(class_name=defect.class_name, box=defect.box, score=defect.score) for defect in defects]


def _grey(path: Path) -> Image:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise SystemExit(f"{path}: cannot be read as an image; the labels file names it")
    return np.asarray(picture, np.uint8)


def _as_photo(image: Image, reference: Image, rng: np.random.Generator) -> tuple[Image, Image, Motion]:
    """The pair as a camera might show it, and how the frame was moved."""
    height, width = image.shape
    dark, light = rng.uniform(30, 80), rng.uniform(150, 220)
    shift = rng.uniform(-2, 2, 2)
    angle = math.radians(rng.uniform(-0.3, 0.3))
    motion = Motion.rigid(dx_px=shift[0], dy_px=shift[1], angle_rad=angle, frame_shape=image.shape)
    moved = cv2.warpAffine(image, motion.matrix(), (width, height), borderMode=cv2.BORDER_REPLICATE)
    slope = 1.0 + np.linspace(-0.05, 0.05, width, dtype=np.float32)[None, :]
    light_on_frame = rng.uniform(0.92, 1.08) * slope
    pictures = []
    for picture, lighting, noise in ((moved, light_on_frame, 4.0), (reference, np.ones_like(slope), 1.0)):
        grey = cv2.GaussianBlur(
            dark + (light - dark) * picture.astype(np.float32) / 255.0, (0, 0), rng.uniform(0.7, 1.2)
        )
        grey = grey * lighting + noise * rng.standard_normal(grey.shape, np.float32)
        pictures.append(np.clip(np.round(grey), 0, 255).astype(np.uint8))
    return pictures[0], pictures[1], motion


def _above(item: _Judged, threshold: float) -> _Judged:
    return replace(item, findings=[finding for finding in item.findings if finding.score >= threshold])


def _best_threshold(judged: Sequence[_Judged]) -> float:
    """The threshold with the best class-wise F1 on these images."""
    return max(_THRESHOLDS, key=lambda threshold: _score([_above(item, threshold) for item in judged]).classified.f1)


def _score(judged: Sequence[_Judged]) -> Score:
    return score((item.findings, item.labels) for item in judged)


def _figures(result: Score) -> list[str]:
    overall = (result.located.f1, result.classified.f1, result.mean_f1)
    by_class = (result.by_class[name].f1 if name in result.by_class else math.nan for name in DEFECT_CLASSES)
    return [f"{value:.3f}" for value in (*overall, *by_class)]


if __name__ == "__main__":
    typer.run(main)
