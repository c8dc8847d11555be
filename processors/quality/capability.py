"""Cp, Cpk, Pp, Ppk with confidence intervals, and whether the values look normal, without which the indices mean little.

NIST/SEMATECH e-Handbook 6.1.6; Montgomery, chapter 8. Cp's interval: (n - 1) s^2 / sigma^2 is chi-square. Cpk's: A. F. Bissell, "How
Reliable is Your Capability Index?", Applied Statistics 39, 1990. Cp and Cpk take the spread within subgroups, Pp and Ppk that of all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2, norm, shapiro

INTERVAL_CONFIDENCE = 0.95
FEWEST_VALUES = 8  # of the normality tests: with fewer they find nothing
LARGEST_A_SQUARED = 10.0  # beyond it the fitted p-value would rise again; it is 3.7e-24 there
LARGEST_SHAPIRO = 5000  # beyond it its p-value is not known to be right (Royston 1995)


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """Specification limits in the unit of the values; either may be missing. Raises ValueError for none, or crossed ones."""

    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        if self.lower is None and self.upper is None:
            raise ValueError("expected a lower or an upper specification limit")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"expected lower < upper, got {self.lower} and {self.upper}")


class Index(NamedTuple):
    """A capability index and its two-sided confidence interval."""

    value: float
    lower: float
    upper: float


class Indices(NamedTuple):
    """Spread against tolerance (Cp or Pp; None with one limit only), and against the nearer limit (Cpk or Ppk)."""

    spread: Index | None
    nearest: Index


class Normality(NamedTuple):
    """Anderson-Darling's A-squared, adjusted for an estimated mean and deviation, its p-value, and Shapiro-Wilk's W and p-value.

    Shapiro-Wilk's are None above 5000 values.
    """

    anderson_darling: float
    anderson_darling_p: float
    shapiro_wilk: float | None
    shapiro_wilk_p: float | None


class Capability(NamedTuple):
    """Cp and Cpk by the spread within subgroups, Pp and Ppk by that of all values. `normality` is None for too few values."""

    values: int
    mean: float
    sigma_within: float
    sigma_overall: float
    within: Indices
    overall: Indices
    normality: Normality | None


def capability(
    subgroups: Sequence[Sequence[float]],
    specification: Specification,
    *,
    interval_confidence: float = INTERVAL_CONFIDENCE,
) -> Capability:
    """Of subgroups of at least two values each, pooled: sigma within^2 = sum (n - 1) s^2 / sum (n - 1).

    Raises ValueError for smaller subgroups, for what is no number, and where all values are equal.
    """
    groups = [np.asarray(group, dtype=np.float64) for group in subgroups]
    if not groups or min(map(len, groups)) < 2 or not all(np.isfinite(group).all() for group in groups):
        raise ValueError("expected subgroups of at least 2 finite values")
    values = np.concatenate(groups)
    freedom = len(values) - len(groups)
    within = math.sqrt(sum(float(np.sum((group - group.mean()) ** 2)) for group in groups) / freedom)
    overall = float(np.std(values, ddof=1))
    if within <= 0 or overall <= 0:
        raise ValueError("expected values that differ within their subgroups")
    mean = float(values.mean())
    return Capability(
        values=len(values),
        mean=mean,
        sigma_within=within,
        sigma_overall=overall,
        within=indices(
            mean, within, specification, values=len(values), freedom=freedom, interval_confidence=interval_confidence
        ),
        overall=indices(
            mean,
            overall,
            specification,
            values=len(values),
            freedom=len(values) - 1,
            interval_confidence=interval_confidence,
        ),
        normality=normality(values.tolist()) if len(values) >= FEWEST_VALUES else None,
    )


def indices(
    mean: float, sigma: float, specification: Specification, *, values: int, freedom: int, interval_confidence: float
) -> Indices:
    """Indices of a process of known estimates: `sigma` has `freedom` degrees of freedom, the mean is that of `values` values."""
    low, high = specification.lower, specification.upper
    tail = (1 - interval_confidence) / 2
    spread = None
    if low is not None and high is not None:
        ratio = (high - low) / (6 * sigma)
        shrink, stretch = (math.sqrt(float(chi2.ppf(share, freedom)) / freedom) for share in (tail, 1 - tail))
        spread = Index(ratio, ratio * shrink, ratio * stretch)
    sides = [(high - mean) / (3 * sigma)] if high is not None else []
    sides += [(mean - low) / (3 * sigma)] if low is not None else []
    nearest = min(sides)
    reach = float(norm.isf(tail)) * math.sqrt(1 / (9 * values) + nearest**2 / (2 * freedom))
    return Indices(spread, Index(nearest, nearest - reach, nearest + reach))


def normality(values: Sequence[float]) -> Normality:
    """Anderson-Darling with M. A. Stephens' p-value (Goodness-of-Fit Techniques, 1986, table 4.9), and Shapiro-Wilk.

    Raises ValueError for fewer than 8 values, or equal ones.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n, deviation = len(ordered), float(np.std(ordered, ddof=1))
    if n < FEWEST_VALUES or deviation <= 0:
        raise ValueError(f"expected at least {FEWEST_VALUES} values that differ, got {n}")
    z = (ordered - ordered.mean()) / deviation
    weights = 2 * np.arange(1, n + 1) - 1
    plain = -n - float(np.mean(weights * (norm.logcdf(z) + norm.logsf(z[::-1]))))
    adjusted = plain * (1 + 0.75 / n + 2.25 / n**2)
    w = shapiro(ordered) if n <= LARGEST_SHAPIRO else None
    return Normality(
        anderson_darling=adjusted,
        anderson_darling_p=_anderson_darling_p(adjusted),
        shapiro_wilk=float(w.statistic) if w else None,
        shapiro_wilk_p=float(w.pvalue) if w else None,
    )


def _anderson_darling_p(adjusted: float) -> float:
    if adjusted >= 0.6:
        far = min(adjusted, LARGEST_A_SQUARED)
        return math.exp(1.2937 - 5.709 * far + 0.0186 * far**2)
    if adjusted > 0.34:
        return math.exp(0.9177 - 4.279 * adjusted - 1.38 * adjusted**2)
    if adjusted > 0.2:
        return 1 - math.exp(-8.318 + 42.796 * adjusted - 59.938 * adjusted**2)
    return 1 - math.exp(-13.436 + 101.14 * adjusted - 223.73 * adjusted**2)
