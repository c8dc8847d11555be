"""Limits of measurements by probability, where a chart is to be wrong less often than three standard deviations are: of the mean or single
value, and of the spread beside it, each with half of what the confidence leaves.

Mean: normal. Deviation S: (n - 1) S^2 / sigma^2 is chi-square with n - 1 degrees of freedom (Montgomery, chapter 6). Range R: that of n
normal values (L. H. C. Tippett 1925), by numerical integration as in `control_constants`. A spread has a lower limit only where the
textbook's has one (n > 5 for S, n > 6 for R): readings in steps are often equal, and a range of 0 says nothing then.
"""

from __future__ import annotations

import math
from enum import StrEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import chi2, norm

from processors.spc.control_constants import NODES, REACH, control_constants

THREE_SIGMA = 0.9973
"""The confidence that stands for the textbook's limits: three standard deviations, with the factors of the table."""

Values = npt.NDArray[np.float64]


class Spread(StrEnum):
    """What is drawn beside the means: a range (a moving range is that of two values), or a deviation."""

    RANGE = "range"
    DEVIATION = "deviation"


def width(confidence: float) -> float:
    """Distance of the limits of a mean from the centre, in its standard deviations."""
    return 3.0 if confidence == THREE_SIGMA else float(norm.isf((1 - confidence) / 4))


@lru_cache(maxsize=256)
def spread_limits(spread: Spread, *, size: int, confidence: float) -> tuple[float, float]:
    """Lower and upper limit of the spread of `size` normal values, in their standard deviations."""
    table = control_constants(size)
    if confidence == THREE_SIGMA:
        if spread is Spread.DEVIATION:
            return table.b3 * table.c4, table.b4 * table.c4
        return table.range_lower * table.d2, table.range_upper * table.d2
    tail = (1 - confidence) / 4
    if spread is Spread.DEVIATION:
        lower, upper = (math.sqrt(chi2.ppf(p, size - 1) / (size - 1)) for p in (tail, 1 - tail))
        return (float(lower) if table.b3 > 0 else 0.0), float(upper)
    lower = _range_quantile(tail, size) if table.range_lower > 0 else 0.0
    return lower, _range_quantile(1 - tail, size)


def spread_alarm_ratio(spread: Spread, *, size: int, confidence: float) -> float:
    """How often the spread of normal values lies beyond its limits."""
    lower, upper = spread_limits(spread, size=size, confidence=confidence)
    if spread is Spread.DEVIATION:
        freedom = size - 1
        return float(chi2.sf(freedom * upper * upper, freedom) + chi2.cdf(freedom * lower * lower, freedom))
    return 1 - _range_below(upper, size) + _range_below(lower, size)


def _range_quantile(chance: float, size: int) -> float:
    return float(brentq(lambda r: _range_below(r, size) - chance, 0.0, 2 * REACH))


def _range_below(r: float, size: int) -> float:
    """P(range <= r) = n integral phi(x) (Phi(x + r) - Phi(x))^(n - 1) dx (H. A. David, Order Statistics)."""
    x, share, below = _grid()
    return float(size * share @ (ndtr(x + r) - below) ** (size - 1))


@lru_cache(maxsize=1)
def _grid() -> tuple[Values, Values, Values]:
    """Nodes x, what each weighs times phi(x), and Phi(x)."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    x = REACH * nodes
    return x, REACH * weights * norm.pdf(x), ndtr(x)
