"""Phase I of an attribute chart: the rate, whether it wanders more than its law allows, and Laney's factor if it does.

Test: Pearson's index of dispersion, sum (x - n p)^2 / (n p (1 - p)), chi-square with k - 1 degrees of freedom (R. A. Fisher; W. G.
Cochran, "Some Methods for Strengthening the Common Chi-Square Tests", Biometrics 10, 1954; for Poisson counts without the 1 - p).
Factor: sigma_z = mean |z_i - z_(i-1)| / 1.128 of the standardised rates (Laney 2002).

A few special causes in phase I look like overdispersion, and Laney's limits would hide them. So points outside exact limits are set
aside and the rest is tested again; where more than a tenth lies outside, they are no exceptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from processors.spc.attribute_charts import CONFIDENCE, AttributeChart, AttributeLimits, Law
from processors.spc.control_constants import control_constants

SIGNIFICANCE = 0.01
EXCEPTIONS_RATIO = 0.1
SMALLEST_EXPECTED = 1.0  # mean expected count below which the chi-square approximation says nothing (Cochran 1954)
FEWEST_POINTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispersion:
    """What the test found. P-values are one-sided, for more spread than the law allows; None where it cannot be said.

    `outside_exact` points lie outside exact limits: look at each before freezing. `p_value_without` is the test's without them.
    `sigma_z` is Laney's factor whatever the test says; None where no point differs or nothing can be standardised.
    """

    points: int
    outside_exact: int
    p_value: float | None
    p_value_without: float | None
    sigma_z: float | None

    @property
    def overdispersed(self) -> bool:
        """Whether Laney's limits are called for: all points wander, not a few special ones, and the factor is above 1."""
        if self.p_value is None or self.p_value >= SIGNIFICANCE or self.sigma_z is None or self.sigma_z <= 1:
            return False
        few = self.outside_exact <= EXCEPTIONS_RATIO * self.points
        return not few or (self.p_value_without is not None and self.p_value_without < SIGNIFICANCE)


def phase_one(
    *, chart: AttributeChart, counts: Sequence[int], sizes: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[AttributeLimits, Dispersion]:
    """Limits from baseline counts and sizes (points without parts are left out), and the test that chose their kind.

    Raises ValueError where nothing was looked at, or a count cannot be.
    """
    pairs = [(count, size) for count, size in zip(counts, sizes, strict=True) if size > 0]
    total, looked_at = sum(count for count, _ in pairs), sum(size for _, size in pairs)
    if not pairs:
        raise ValueError("expected at least one point with parts, got none")
    if any(count < 0 or (chart.law is Law.BINOMIAL and count > size) for count, size in pairs):
        raise ValueError("expected 0 <= count and, of parts, count <= size")
    plain = AttributeLimits(chart=chart, rate=total / looked_at, confidence=confidence)
    inside = [pair for pair in pairs if not _outside(plain, *pair)]
    found = Dispersion(
        points=len(pairs),
        outside_exact=len(pairs) - len(inside),
        p_value=_p_value(chart, pairs),
        p_value_without=_p_value(chart, inside),
        sigma_z=_sigma_z(plain, pairs),
    )
    sigma_z = found.sigma_z if found.overdispersed else None
    return AttributeLimits(chart=chart, rate=plain.rate, confidence=confidence, sigma_z=sigma_z), found


def _outside(limits: AttributeLimits, count: int, size: float) -> bool:
    point = limits.point(count=count, size=size)
    return point is not None and point.outside


def _p_value(chart: AttributeChart, pairs: Sequence[tuple[int, float]]) -> float | None:
    looked_at = sum(size for _, size in pairs)
    if len(pairs) < FEWEST_POINTS or sum(count for count, _ in pairs) < SMALLEST_EXPECTED * len(pairs):
        return None
    limits = AttributeLimits(chart=chart, rate=sum(count for count, _ in pairs) / looked_at)
    scores = _scores(limits, pairs)
    return None if scores is None else float(chi2.sf(float(np.sum(scores**2)), len(pairs) - 1))


def _sigma_z(limits: AttributeLimits, pairs: Sequence[tuple[int, float]]) -> float | None:
    scores = _scores(limits, pairs)
    if scores is None or not np.diff(scores).any():
        return None
    return float(np.mean(np.abs(np.diff(scores)))) / control_constants(2).d2


def _scores(limits: AttributeLimits, pairs: Sequence[tuple[int, float]]) -> npt.NDArray[np.float64] | None:
    """Standardised rates; None where all are bad or none."""
    if limits.sigma(1) <= 0:
        return None
    counts, sizes = np.array(pairs, dtype=np.float64).T
    scores: npt.NDArray[np.float64] = (counts / sizes - limits.rate) / (limits.sigma(1) / np.sqrt(sizes))
    return scores
