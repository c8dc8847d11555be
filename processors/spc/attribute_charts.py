"""p, np, u and c charts, with exact limits; Laney's p' and u' where a phase I test found overdispersion.

p and np: bad parts among `size` parts, binomial. u and c: defects in `size` units, Poisson. p and u plot a rate, np and c the
count itself. Laney's charts (D. B. Laney, "Improved Control Charts for Attributes", Quality Engineering 14 (4), 2002) widen the
normal limits by `sigma_z`; they are for large subgroups, whose rate wanders more than the binomial or Poisson law allows.
Textbook limits centre +- 3 sigma: Montgomery chapter 7; NIST/SEMATECH e-Handbook 6.3.3.1 (c), 6.3.3.2 (p).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from scipy.stats import binom, norm, poisson

from processors.spc.count_limits import CountLimits, binomial_limits, poisson_limits
from processors.spc.run_rules import Place

CONFIDENCE = 0.9973002039367398  # what three standard deviations of a normal statistic hold
HIGHEST_SCORE = 8.0  # of a count so rare that its probability is 0 in float64


class Law(StrEnum):
    """What a count follows while nothing is wrong."""

    BINOMIAL = "binomial"
    POISSON = "poisson"


class AttributeChart(StrEnum):
    """The four attribute charts."""

    P = "p"
    NP = "np"
    U = "u"
    C = "c"

    @property
    def law(self) -> Law:
        """Parts are good or bad (p, np); defects are counted (u, c)."""
        return Law.BINOMIAL if self in (AttributeChart.P, AttributeChart.NP) else Law.POISSON

    @property
    def plots_counts(self) -> bool:
        """np and c plot the count itself, p and u the count over the size."""
        return self in (AttributeChart.NP, AttributeChart.C)


class ChartPoint(NamedTuple):
    """One plotted point with its limits, all in the unit that is plotted; outside is beyond a limit, on it is inside."""

    value: float
    centre: float
    lower: float
    upper: float
    outside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeLimits:
    """A chart as phase I froze it. `rate` is bad parts per part in [0, 1], or defects per unit, >= 0.

    `sigma_z` is Laney's factor; None: exact limits.
    """

    chart: AttributeChart
    rate: float
    confidence: float = CONFIDENCE
    sigma_z: float | None = None

    def point(self, *, count: int, size: float) -> ChartPoint | None:
        """The point of `count` bad parts or defects in `size` parts or units; None where nothing was looked at.

        Raises ValueError for a negative count or size, and for more bad parts than parts.
        """
        if size < 0 or count < 0 or (self.chart.law is Law.BINOMIAL and count > size):
            raise ValueError(f"expected 0 <= count, 0 <= size and, of parts, count <= size, got {count} in {size}")
        if size == 0:
            return None
        scale = 1.0 if self.chart.plots_counts else size
        if self.sigma_z is None:
            exact = self.exact_limits(size)
            lower, upper = exact.lower / scale, exact.upper / scale
            outside = not exact.lower <= count <= exact.upper
        else:
            lower, upper = (limit * size / scale for limit in self.normal_limits(size))
            outside = not lower <= count / scale <= upper
        return ChartPoint(count / scale, self.rate * size / scale, lower, upper, outside)

    @property
    def width(self) -> float:
        """Distance of normal limits from the centre in standard deviations; rounded, so that three are three."""
        return round(float(norm.isf((1 - self.confidence) / 2)), 9)

    def exact_limits(self, size: float) -> CountLimits:
        """Limits of the count by its law."""
        if self.chart.law is Law.BINOMIAL:
            return binomial_limits(parts=int(size), proportion=self.rate, confidence=self.confidence)
        return poisson_limits(expected=self.rate * size, confidence=self.confidence)

    def normal_limits(self, size: float) -> tuple[float, float]:
        """Limits of the rate, rate +- z sigma sigma_z, cut at what can be: the textbook's where `sigma_z` is None or 1."""
        reach = self.width * self.sigma(size) * (self.sigma_z or 1.0)
        highest = 1.0 if self.chart.law is Law.BINOMIAL else math.inf
        return max(0.0, self.rate - reach), min(highest, self.rate + reach)

    def sigma(self, size: float) -> float:
        """Standard deviation of the rate of `size` parts or units by the law."""
        variance = self.rate * (1 - self.rate) if self.chart.law is Law.BINOMIAL else self.rate
        return math.sqrt(variance / size)

    def place(self, *, count: int, size: float) -> Place:
        """Where the count of a point lies, for run rules. Raises ValueError as `point`, and where nothing was looked at.

        A count x stands for the normal values between z of P(X < x) and z of P(X <= x). `near` is the end of that span towards the centre:
        as with the exact limits a count lies beyond two standard deviations only if one so far or further is no likelier than a normal
        value there, so that patterns are met by chance no more often than by normal values (docs/statistics.md). With `sigma_z`: (rate of
        the point - rate) / (sigma sigma_z). Cut at +-8.
        """
        point = self.point(count=count, size=size)
        if point is None:
            raise ValueError("expected at least one part or unit, got none")
        if self.sigma_z is not None:
            spread = self.sigma(size) * self.sigma_z
            score = _cut((count / size - self.rate) / spread if spread else 0.0)
            return Place(score, abs(score), point.outside)
        law = binom(int(size), self.rate) if self.chart.law is Law.BINOMIAL else poisson(self.rate * size)
        low = _normal(below=float(law.cdf(count - 1)), above=float(law.sf(count - 1)))
        high = _normal(below=float(law.cdf(count)), above=float(law.sf(count)))
        return Place(max(low, min(high, 0.0)), max(abs(low), abs(high)), point.outside)


def _normal(*, below: float, above: float) -> float:
    """The normal value with so much below and above it; from the smaller one, which float64 holds to the last digit."""
    return _cut(float(norm.ppf(below) if below < above else norm.isf(above)))


def _cut(score: float) -> float:
    return min(max(score, -HIGHEST_SCORE), HIGHEST_SCORE)
