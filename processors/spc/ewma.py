"""The EWMA chart: z = weight * x + (1 - weight) * z, from the target on.

Limits are the constant ones, target +- width * sigma * sqrt(weight / (2 - weight)): NIST/SEMATECH e-Handbook 6.3.2.4; their average run
lengths are the published ones (J. M. Lucas, M. S. Saccucci, Technometrics 32, 1990, table 3) and `run_length.ewma_run_length`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from processors.spc.attribute_charts import ChartPoint

WEIGHT = 0.2
WIDTH = 2.962  # with weight 0.2: 500 points between false alarms (Lucas and Saccucci 1990)


@dataclass(slots=True, kw_only=True)
class Ewma:
    """An EWMA of values of known target and standard deviation (of one value), in the unit of the values.

    Raises ValueError for a weight outside (0, 1], a negative sigma, or a width that is not positive.
    """

    target: float
    sigma: float
    weight: float = WEIGHT
    width: float = WIDTH
    value: float = field(init=False)

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1 or self.sigma < 0 or self.width <= 0:
            raise ValueError(
                f"expected 0 < weight <= 1, sigma >= 0, width > 0, got {self.weight}, {self.sigma}, {self.width}"
            )
        self.value = self.target

    @property
    def reach(self) -> float:
        """Distance of the limits from the target."""
        return self.width * self.sigma * math.sqrt(self.weight / (2 - self.weight))

    def add(self, value: float) -> ChartPoint:
        """Takes a finite value and gives the chart's point. Raises ValueError for what is no number."""
        if not math.isfinite(value):
            raise ValueError(f"expected a finite value, got {value}")
        self.value += self.weight * (value - self.value)
        lower, upper = self.target - self.reach, self.target + self.reach
        return ChartPoint(self.value, self.target, lower, upper, not lower <= self.value <= upper)
