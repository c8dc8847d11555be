"""Average run lengths: how many points on average until a chart signals, in control (false alarms) and after a shift.

All are zero-state: the chart starts at its target when the counting starts. Shifts are in standard deviations of a point.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, norm, poisson

from processors.spc.attribute_charts import AttributeLimits, Law

NODES = 80


def attribute_run_length(limits: AttributeLimits, *, size: float, rate: float) -> float:
    """Of a chart with exact limits whose process really has `rate`: 1 / P(a point lies outside); infinite where none can."""
    bounds = limits.exact_limits(size)
    law = binom(int(size), rate) if limits.chart.law is Law.BINOMIAL else poisson(rate * size)
    chance = float(law.cdf(bounds.lower - 1) + law.sf(bounds.upper))
    return 1 / chance if chance > 0 else math.inf


def shewhart_run_length(*, width: float, shift: float) -> float:
    """Of single points with limits at +-`width`."""
    return 1 / float(norm.cdf(-width - shift) + norm.sf(width - shift))


@lru_cache(maxsize=256)
def ewma_run_length(*, weight: float, width: float, shift: float) -> float:
    """Of a two-sided EWMA of normal values with constant limits.

    S. V. Crowder, "A Simple Method for Studying Run-Length Distributions of Exponentially Weighted Moving Average Charts",
    Technometrics 29, 1987: L(u) = 1 + (1/w) integral L(y) phi((y - (1 - w) u) / w - shift) dy, solved on Gauss-Legendre nodes.
    """
    reach = width * math.sqrt(weight / (2 - weight))
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    y, share = reach * nodes, reach * weights
    started = np.append(y, 0.0)  # where the chart stands before a point; the last one is the target
    kernel = share * norm.pdf((y[None, :] - (1 - weight) * started[:, None]) / weight - shift) / weight
    return _solve(kernel)


@lru_cache(maxsize=256)
def cusum_run_length(*, reference: float, interval: float, shift: float) -> float:
    """Of a two-sided tabular CUSUM of normal values: 1/L = 1/L(upper) + 1/L(lower) (K. W. Kemp 1961)."""
    upper = upper_cusum_run_length(reference=reference, interval=interval, shift=shift)
    lower = upper_cusum_run_length(reference=reference, interval=interval, shift=-shift)
    return 1 / (1 / upper + 1 / lower)


@lru_cache(maxsize=256)
def upper_cusum_run_length(*, reference: float, interval: float, shift: float) -> float:
    """Of the upper sum alone: the integral equation with an atom at 0.

    E. S. Page 1954; A. L. Goel, S. M. Wu 1971; L. C. Vance, Journal of Quality Technology 18, 1986.
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    y, share = interval * (nodes + 1) / 2, interval * weights / 2
    started = np.append(y, 0.0)
    drift = shift - reference
    kernel = share * norm.pdf(y[None, :] - started[:, None] - drift)
    at_zero = norm.cdf(-started - drift)
    return _solve(kernel, at_start=at_zero)


def _solve(kernel: npt.NDArray[np.float64], at_start: npt.NDArray[np.float64] | None = None) -> float:
    """Run length from the start, the last row; `kernel` [n + 1, n] leads to the nodes, `at_start` [n + 1] back to the start."""
    back = np.zeros(len(kernel)) if at_start is None else at_start
    step = np.column_stack([kernel, back])
    return float(np.linalg.solve(np.eye(len(step)) - step, np.ones(len(step)))[-1])
