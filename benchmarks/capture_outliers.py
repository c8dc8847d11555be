"""How many defective parts among good ones `linesight references capture` refuses, and how many good ones with them.

`python -m benchmarks.capture_outliers --sets 20`: for each defect class that many sets of good parts with one defective among them,
design, view, place and the camera's shift, light and noise drawn anew, and as many sets of good parts alone. CPU only, no services.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from processors.golden.reference import reference_from_good_parts
from simulation import boards, imaging
from simulation.defects import DefectKind

HARDER = imaging.Optics(shift_px=5.0, angle_deg=1.0, gain_ratio=0.15, gradient_ratio=0.25, blur_px=1.0, noise_grey=6.0)
"""A worse camera than the demo's: twice its noise, three times its changes of exposure, a looser fixture."""
OPTICS = {"as the demo's": imaging.OPTICS, "worse": HARDER}


@dataclass(slots=True)
class Count:
    """What was refused of what was given."""

    defective: int = 0
    defective_refused: int = 0
    good: int = 0
    good_refused: int = 0

    def add(self, *, bad: int | None, parts: int, refused: dict[int, str]) -> None:
        """One set: index of its defective part, number of its parts, what was refused."""
        self.defective += bad is not None
        self.defective_refused += bad is not None and bad in refused
        self.good += parts - (bad is not None)
        self.good_refused += len(refused) - (bad is not None and bad in refused)


def a_set(
    kind: DefectKind | None, *, parts: int, optics: imaging.Optics, rng: np.random.Generator
) -> tuple[list[imaging.Image], int | None]:
    """Pictures (uint8 [640, 640]) of one view of one design, one of them with a defect, and which that is."""
    while True:
        design = list(boards.DESIGNS)[int(rng.integers(len(boards.DESIGNS)))]
        try:
            drawn = boards.draw_part(design=design, defects=[kind] if kind else [], rng=rng)
        except ValueError:  # no room for this kind in this view: another
            continue
        break
    clean = boards.draw_part(design=design, defects=[], rng=rng)
    marked = [view for view, picture in drawn.items() if picture.defects]
    view = marked[0] if marked else boards.VIEWS[int(rng.integers(len(boards.VIEWS)))]
    bad = int(rng.integers(parts)) if kind else None
    scenes = [drawn[view].scene if index == bad else clean[view].scene for index in range(parts)]
    return [imaging.capture(scene, rng=rng, optics=optics).image for scene in scenes], bad


def count(kind: DefectKind | None, *, sets: int, parts: int, optics: imaging.Optics, seed: int) -> Count:
    """What is refused of `sets` sets of one kind, drawn from `seed`."""
    rng, total = np.random.default_rng(seed), Count()
    for _ in range(sets):
        pictures, bad = a_set(kind, parts=parts, optics=optics, rng=rng)
        total.add(bad=bad, parts=parts, refused=reference_from_good_parts(pictures).refused)
    return total


def main() -> None:
    """Prints one row per camera and class."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sets", type=int, default=20, help="sets per class and camera")
    options.add_argument("--parts", type=int, default=9, help="parts in a set, the defective one among them")
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    print(f"{'camera':<14} {'class':<10} {'defective refused':>18} {'good refused':>14}")
    for camera, optics in OPTICS.items():
        for kind in (*DefectKind, None):
            of = count(kind, sets=asked.sets, parts=asked.parts, optics=optics, seed=asked.seed)
            refused, good = f"{of.defective_refused}/{of.defective}", f"{of.good_refused}/{of.good}"
            print(f"{camera:<14} {kind or 'none':<10} {refused:>18} {good:>14}", flush=True)


if __name__ == "__main__":
    main()
