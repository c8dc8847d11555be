"""Figures of an evaluation with their uncertainty. No torch."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

_NORMAL_95 = 1.959964
_BOOTSTRAPS = 500

Interval = tuple[float, float]


def auroc(scores: npt.ArrayLike, bad: npt.ArrayLike) -> float | None:
    """Chance that a bad one scores above a good one, ties count half (Mann-Whitney); None without both."""
    values, truth = np.asarray(scores, float), np.asarray(bad, bool)
    if truth.all() or not truth.any():
        return None
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = int(truth.sum())
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * (len(truth) - positives)))


def wilson(hits: int, total: int) -> Interval | None:
    """95 % interval of a share (E. B. Wilson, JASA 1927): right for few and for none."""
    if total == 0:
        return None
    share, square = hits / total, _NORMAL_95**2
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = _NORMAL_95 / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return centre - half if hits else 0.0, centre + half if hits < total else 1.0


def bootstrapped(
    figure: Callable[[npt.NDArray[np.int64]], float | None], count: int, *, seed: int = 0
) -> Interval | None:
    """95 % interval of a figure of images, by drawing them again with replacement (Efron, Ann. Statist. 1979)."""
    generator = np.random.default_rng(seed)
    drawn = (figure(generator.integers(0, count, count)) for _ in range(_BOOTSTRAPS))
    values = [value for value in drawn if value is not None]
    if len(values) < _BOOTSTRAPS // 2:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
