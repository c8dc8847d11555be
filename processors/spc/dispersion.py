"""Phase I of an attribute chart: the rate, whether it wanders more than its law allows, and Laney's factor if it does.

Test: Pearson's index of dispersion, sum (x - n p)^2 / (n p (1 - p)), chi-square with k - 1 degrees of freedom (R. A. Fisher; W. G.
Cochran, "Some Methods for Strengthening the Common Chi-Square Tests", Biometrics 10, 1954; for Poisson counts without the 1 - p).
Factor: sigma_z = mean |z_i - z_(i-1)| / 1.128 of the standardised rates (Laney 2002). A single shift in phase I looks like overdispersion
too: look at the points before the limits are frozen.
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
SMALLEST_EXPECTED = 1.0  # mean expected count below which the chi-square approximation says nothing (Cochran 1954)
FEWEST_POINTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispersion:
    """What the test found. `p_value` is one-sided, for more spread than the law allows; None where it cannot be said.

    `sigma_z` is Laney's factor whatever the test says; None where no point differs or nothing can be standardised.
    """

    index: float
    degrees_of_freedom: int
    p_value: float | None
    sigma_z: float | None

    @property
    def overdispersed(self) -> bool:
        """Whether Laney's limits are called for: p < 0.01, and a factor above 1."""
        return (
            self.p_value is not None and self.p_value < SIGNIFICANCE and self.sigma_z is not None and self.sigma_z > 1
        )


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
    found = _dispersion(plain, np.array([c for c, _ in pairs], float), np.array([s for _, s in pairs], float))
    sigma_z = found.sigma_z if found.overdispersed else None
    return AttributeLimits(chart=chart, rate=plain.rate, confidence=confidence, sigma_z=sigma_z), found


def _dispersion(limits: AttributeLimits, counts: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64]) -> Dispersion:
    variance = limits.rate * (1 - limits.rate) if limits.chart.law is Law.BINOMIAL else limits.rate
    freedom = len(counts) - 1
    if variance <= 0:
        return Dispersion(index=0.0, degrees_of_freedom=freedom, p_value=None, sigma_z=None)
    scores = (counts / sizes - limits.rate) / np.sqrt(variance / sizes)
    index = float(np.sum(scores**2))
    testable = len(counts) >= FEWEST_POINTS and float(np.mean(sizes)) * limits.rate >= SMALLEST_EXPECTED
    ranges = np.abs(np.diff(scores))
    sigma_z = float(np.mean(ranges)) / control_constants(2).d2 if len(ranges) and ranges.any() else None
    return Dispersion(
        index=index,
        degrees_of_freedom=freedom,
        p_value=float(chi2.sf(index, freedom)) if testable else None,
        sigma_z=sigma_z,
    )
