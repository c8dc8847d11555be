"""Average run lengths of an EWMA and a CUSUM of counts: Markov chains on equal cells (D. Brook, D. A. Evans, Biometrika 59, 1972).

Both are of the standardised rate (x / size - centre) / sigma. Counts are skewed, the more the fewer are expected: limits that were worked
out for normal values are met more often.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, poisson

from processors.spc.attribute_charts import AttributeLimits, Law

CELLS = 801
RARE = 1e-12
"""Counts with less chance than this beyond them are left out."""

_Array = npt.NDArray[np.floating[Any]]


def ewma_count_run_length(limits: AttributeLimits, *, size: float, rate: float, weight: float, width: float) -> float:
    """Of an EWMA of counts that really have `rate`, with constant limits; in points (Lucas and Saccucci 1990)."""
    scores, chances = _scores(limits, size=size, rate=rate)
    reach = width * math.sqrt(weight / (2 - weight))
    cell = 2 * reach / CELLS
    middles: _Array = np.asarray(-reach + cell * (np.arange(CELLS) + 0.5), np.float64)
    return _length(
        lambda score: np.asarray(((1 - weight) * middles + weight * score + reach) / cell, np.float64),
        scores,
        chances,
        CELLS // 2,
    )


def cusum_count_run_length(
    limits: AttributeLimits, *, size: float, rate: float, reference: float, interval: float
) -> float:
    """Of a two-sided tabular CUSUM of counts that really have `rate`; in points. The sides as in `cusum_run_length` (K. W. Kemp 1961)."""
    scores, chances = _scores(limits, size=size, rate=rate)
    sides = [_upper(sign * scores, chances, reference=reference, interval=interval) for sign in (1, -1)]
    return 1 / sum(1 / side for side in sides)


def _upper(scores: _Array, chances: _Array, *, reference: float, interval: float) -> float:
    """The upper sum alone. Its cells are centred on multiples of their width from 0 on, where it rests."""
    cell = 2 * interval / (2 * CELLS - 1)
    sums = cell * np.arange(CELLS)
    return _length(lambda score: np.maximum(sums + score - reference, 0.0) / cell + 0.5, scores, chances, 0)


def _scores(limits: AttributeLimits, *, size: float, rate: float) -> tuple[_Array, _Array]:
    """Standardised counts [k], and the chance of each."""
    law = binom(int(size), rate) if limits.chart.law is Law.BINOMIAL else poisson(rate * size)
    counts = np.arange(int(law.ppf(RARE)), int(law.isf(RARE)) + 1)
    return (counts / size - limits.rate) / limits.sigma(size), law.pmf(counts)


def _length(reached: Callable[[float], _Array], scores: _Array, chances: _Array, start: int) -> float:
    """From the cell `start` until no cell is reached; `reached` gives the place after a score from each cell [cells], in cells."""
    step = np.zeros((CELLS, CELLS))
    for score, chance in zip(scores, chances, strict=True):
        to = reached(float(score))
        inside = np.flatnonzero((to >= 0) & (to <= CELLS))
        np.add.at(step, (inside, np.minimum(to[inside].astype(int), CELLS - 1)), chance)
    alarm = np.maximum(1.0 - step.sum(axis=1), 0.0)
    if not alarm.any():
        return math.inf
    return float(np.linalg.solve(np.eye(CELLS) - step, np.ones(CELLS))[start])
