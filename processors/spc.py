"""Statistical process control: the p-chart with exact binomial limits, and the yield figures.

Probability limits of a p-chart (SAS/QC, PCHART: "Limits Based on Probabilities"; Montgomery, Introduction to Statistical
Quality Control, chapter 7): with the baseline proportion p and n parts, the limits are the binomial quantiles beyond which an
in-control process falls with probability at most alpha/2 on each side. The usual p +- 3 sqrt(p (1 - p) / n)
(NIST/SEMATECH e-Handbook 6.3.3.2) approximates them, and is wrong where n p is small, as on every good line.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from scipy.stats import binom

from schemas.plant import PChart
from schemas.statistics import ControlPoint, PaneCounts


class Limits(NamedTuple):
    """Control limits of a count of nonconforming parts: in control is `lower <= count <= upper`."""

    lower: int
    upper: int


@lru_cache(maxsize=4096)
def binomial_limits(*, parts: int, proportion: float, confidence: float) -> Limits:
    """Exact limits for the count of nonconforming parts among `parts` when `proportion` of them are.

    `lower` is the largest count with P(X < lower) < alpha/2 and `upper` the smallest with P(X > upper) <= alpha/2, where
    alpha = 1 - `confidence`.
    """
    tail = (1.0 - confidence) / 2.0
    lower = int(binom.ppf(tail, parts, proportion))
    upper = int(binom.isf(tail, parts, proportion))
    return Limits(max(lower, 0), min(upper, parts))


def control_point(counts: PaneCounts, chart: PChart) -> ControlPoint | None:
    """The p-chart point of a window: share of NOT_OK among the decided parts; None where none was decided."""
    decided = counts.ok + counts.not_ok
    if decided == 0:
        return None
    limits = binomial_limits(parts=decided, proportion=chart.baseline_ratio, confidence=chart.confidence)
    return ControlPoint(
        value=counts.not_ok / decided,
        centre=chart.baseline_ratio,
        lower=limits.lower / decided,
        upper=limits.upper / decided,
        confidence=chart.confidence,
        sample_size=decided,
        outside=not limits.lower <= counts.not_ok <= limits.upper,
    )


def not_ok_ratio(counts: PaneCounts) -> float | None:
    """NOT_OK among the decided parts, in [0, 1]; None where none was decided."""
    decided = counts.ok + counts.not_ok
    return counts.not_ok / decided if decided else None


def first_pass_yield_ratio(counts: PaneCounts) -> float | None:
    """Units that were OK on their first visit, of all units on their first visit (ISO 22400-2, first pass yield)."""
    return counts.first_pass_ok / counts.units if counts.units else None


def dpmo(counts: PaneCounts) -> float | None:
    """Defects per million opportunities; None where no opportunity was counted."""
    return counts.defects * 1_000_000 / counts.opportunities if counts.opportunities else None
