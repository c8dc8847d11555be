"""c4, d2, d3 and the factors A2, A3, B3, B4, D3, D4 of charts for measurements.

Integrated from the distributions of standard deviation and range of n standard normal values (NIST/SEMATECH e-Handbook 6.3.2.1;
W. A. Shewhart; L. H. C. Tippett 1925), then rounded as the published tables print them (ASTM E2587, Montgomery appendix VI:
three decimals, c4 four), so that limits equal those that somebody works out with a table.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln
from scipy.stats import norm

LARGEST_SUBGROUP = 100
REACH = 9.0  # standard deviations; beyond it float64 holds no probability of a normal value
NODES = 240


class ControlConstants(NamedTuple):
    """Factors for subgroups of one size: mean +- a2 * mean range, mean +- a3 * mean deviation, and so on."""

    c4: float
    d2: float
    d3: float
    a2: float
    a3: float
    b3: float
    b4: float
    range_lower: float
    range_upper: float


@lru_cache(maxsize=LARGEST_SUBGROUP)
def control_constants(size: int) -> ControlConstants:
    """The constants for subgroups of `size` values. Raises ValueError outside 2..100."""
    if not 2 <= size <= LARGEST_SUBGROUP:
        raise ValueError(f"expected subgroups of 2 to {LARGEST_SUBGROUP} values, got {size}")
    c4 = math.sqrt(2 / (size - 1)) * math.exp(gammaln(size / 2) - gammaln((size - 1) / 2))
    d2, d3 = _range_moments(size)
    spread = 3 * math.sqrt(1 - c4 * c4) / c4
    return ControlConstants(
        c4=round(c4, 4),
        d2=round(d2, 3),
        d3=round(d3, 3),
        a2=round(3 / (d2 * math.sqrt(size)), 3),
        a3=round(3 / (c4 * math.sqrt(size)), 3),
        b3=round(max(0.0, 1 - spread), 3),
        b4=round(1 + spread, 3),
        range_lower=round(max(0.0, 1 - 3 * d3 / d2), 3),
        range_upper=round(1 + 3 * d3 / d2, 3),
    )


def _range_moments(size: int) -> tuple[float, float]:
    """Mean and standard deviation of the range of `size` standard normal values.

    P(range <= r) = n integral phi(x) (Phi(x + r) - Phi(x))^(n - 1) dx (H. A. David, Order Statistics).
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    x, weight_x = REACH * nodes, REACH * weights
    r, weight_r = REACH * (nodes + 1), REACH * weights
    between = norm.cdf(x[:, None] + r[None, :]) - norm.cdf(x)[:, None]
    above = 1 - size * (weight_x * norm.pdf(x)) @ between ** (size - 1)
    mean = float(weight_r @ above)
    return mean, math.sqrt(2 * float(weight_r @ (r * above)) - mean * mean)
