"""Defects on the map of a part: where they lie, and whether they crowd at one place on part after part, which points at a tool.

A scan statistic: squares of several sizes are laid everywhere on a grid over the part; each gets the log likelihood ratio of a Poisson
rate that is higher inside (M. Kulldorff, "A Spatial Scan Statistic", Communications in Statistics 26, 1997). The largest counts; its
p-value is its rank among 999 maps of as many defects thrown at random, so looking everywhere at once is paid for (Monte Carlo test, M.
Dwass 1957). A part counts once per cell: fifty scratches on one part are no tool.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

CELLS = 32  # across and down
SQUARES = (1, 2, 3, 4, 6, 8)  # edges in cells: 3 % to a quarter of the part
RANDOM_MAPS = 999
SEED = 20261124  # the same defects always give the same p-value
FEWEST_DEFECTS = 5


class DefectPosition(NamedTuple):
    """Centre of a defect on its part, as shares of the part's width and height in [0, 1]; `part` tells parts apart."""

    part: str
    x_ratio: float
    y_ratio: float


class Cluster(NamedTuple):
    """The square that crowds most, as shares of width and height; `expected` of the defects by chance. `p_value` in steps of 1/1000."""

    left_ratio: float
    top_ratio: float
    right_ratio: float
    bottom_ratio: float
    defects: int
    expected: float
    all_defects: int
    log_likelihood_ratio: float
    p_value: float


def defect_map(defects: Iterable[DefectPosition]) -> npt.NDArray[np.int64]:
    """How many parts have a defect in each cell: int64 [32, 32], rows from top to bottom.

    Raises ValueError for a position outside the part.
    """
    cells = set()
    for part, x, y in defects:
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ValueError(f"expected shares of the part in [0, 1], got ({x}, {y}) on part {part}")
        cells.add((part, min(int(y * CELLS), CELLS - 1), min(int(x * CELLS), CELLS - 1)))
    counts = np.zeros((CELLS, CELLS), dtype=np.int64)
    for _, row, column in cells:
        counts[row, column] += 1
    return counts


def cluster(counts: npt.NDArray[np.int64]) -> Cluster | None:
    """The place that crowds most on a map of `defect_map`; None for fewer than 5 defects, or where no place holds more than its share.

    A defect counts as likely in each cell as in any other: where joints are, defects crowd by nature. Raises ValueError for another shape.
    """
    if counts.shape != (CELLS, CELLS):
        raise ValueError(f"expected a map of {CELLS} x {CELLS} cells, got {counts.shape}")
    total = int(counts.sum())
    if total < FEWEST_DEFECTS:
        return None
    share = np.full((CELLS, CELLS), 1 / CELLS**2)
    rng = np.random.default_rng(SEED)
    random_maps = rng.multinomial(total, share.ravel(), size=RANDOM_MAPS).reshape(-1, CELLS, CELLS)
    corners, share_corners, random_corners = (_corner_sums(maps) for maps in (counts[None], share[None], random_maps))
    best_random = np.zeros(RANDOM_MAPS)
    best: tuple[float, int, int, int] = (0.0, 0, 0, 0)
    for edge in SQUARES:
        expected = _square_sums(share_corners, edge)[0] * total
        ratios = _ratios(_square_sums(corners, edge), expected, total)[0]
        row, column = np.unravel_index(int(np.argmax(ratios)), ratios.shape)
        best = max(best, (float(ratios[row, column]), edge, int(row), int(column)))
        random_ratios = _ratios(_square_sums(random_corners, edge), expected, total)
        best_random = np.maximum(best_random, random_ratios.reshape(RANDOM_MAPS, -1).max(axis=1))
    ratio, size, top, left = best
    if ratio <= 0:
        return None
    inside = slice(top, top + size), slice(left, left + size)
    return Cluster(
        left_ratio=left / CELLS,
        top_ratio=top / CELLS,
        right_ratio=(left + size) / CELLS,
        bottom_ratio=(top + size) / CELLS,
        defects=int(counts[inside].sum()),
        expected=float(share[inside].sum() * total),
        all_defects=total,
        log_likelihood_ratio=ratio,
        p_value=(int(np.sum(best_random >= ratio - 1e-9)) + 1) / (RANDOM_MAPS + 1),
    )


def _corner_sums(maps: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Sums from the top left corner to each cell: [rows, 32, 32] -> [rows, 33, 33]."""
    sums = np.zeros((len(maps), CELLS + 1, CELLS + 1))
    sums[:, 1:, 1:] = np.cumsum(np.cumsum(maps, axis=1, dtype=np.float64), axis=2)
    return sums


def _square_sums(corners: npt.NDArray[np.float64], edge: int) -> npt.NDArray[np.float64]:
    """Sums over all squares of `edge` cells: [rows, 33, 33] -> [rows, 33 - edge, 33 - edge]."""
    across = corners[:, :, edge:] - corners[:, :, :-edge]
    return across[:, edge:] - across[:, :-edge]


def _ratios(inside: npt.NDArray[np.float64], expected: npt.NDArray[np.float64], total: int) -> npt.NDArray[np.float64]:
    """Kulldorff's c log(c / E) + (C - c) log((C - c) / (C - E)), 0 where a square holds no more than its share."""
    crowded = inside > expected + 1e-9
    c, e = inside[crowded], np.broadcast_to(expected, inside.shape)[crowded]
    found = np.zeros(inside.shape)
    found[crowded] = xlogy(c, c / e) + xlogy(total - c, (total - c) / np.maximum(total - e, 1e-12))
    return found
