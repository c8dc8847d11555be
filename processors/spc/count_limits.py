"""Exact limits of counts: binomial quantiles for parts that are bad, Poisson quantiles for defects.

Probability limits (SAS/QC, PCHART: "Limits Based on Probabilities"; Montgomery, Introduction to Statistical Quality Control,
chapter 7): an in-control count falls beyond each limit with probability at most alpha/2. The usual centre +- 3 sigma
(NIST/SEMATECH e-Handbook 6.3.3) approximates them, and is wrong where the expected count is small, as on every good line.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from scipy.stats import binom, poisson


class CountLimits(NamedTuple):
    """Control limits of a count: in control is `lower <= count <= upper`."""

    lower: int
    upper: int


@lru_cache(maxsize=4096)
def binomial_limits(*, parts: int, proportion: float, confidence: float) -> CountLimits:
    """Exact limits for the count of nonconforming parts among `parts` when `proportion` of them are.

    `lower` is the largest count with P(X < lower) < alpha/2 and `upper` the smallest with P(X > upper) <= alpha/2, where
    alpha = 1 - `confidence`.
    """
    tail = (1.0 - confidence) / 2.0
    lower = int(binom.ppf(tail, parts, proportion))
    upper = int(binom.isf(tail, parts, proportion))
    return CountLimits(max(lower, 0), min(upper, parts))


@lru_cache(maxsize=4096)
def poisson_limits(*, expected: float, confidence: float) -> CountLimits:
    """Exact limits for the count of defects when `expected` of them are; in the same sense as `binomial_limits`."""
    tail = (1.0 - confidence) / 2.0
    return CountLimits(max(int(poisson.ppf(tail, expected)), 0), int(poisson.isf(tail, expected)))
