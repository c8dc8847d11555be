"""The tabular CUSUM: two sums of what lies beyond target +- reference, each cut at 0; a signal above the interval.

E. S. Page, Biometrika 41, 1954; Montgomery 9.1.2; NIST/SEMATECH e-Handbook 6.3.2.3. Average run length: `run_length.cusum_run_length`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

REFERENCE = 0.5  # standard deviations: half the shift that is to be found soonest
INTERVAL = 5.0  # standard deviations: 465 points between false alarms, 10.4 after a shift of one


class CusumPoint(NamedTuple):
    """Both sums in the unit of the values, each with the number of points since it was last 0 (Montgomery's N+ and N-).

    The shift began about that many points ago.
    """

    upper: float
    lower: float
    upper_since: int
    lower_since: int
    outside: bool


AT_REST = CusumPoint(0.0, 0.0, 0, 0, False)


@dataclass(slots=True, kw_only=True)
class Cusum:
    """A CUSUM of values of known target and standard deviation; `reference` and `interval` in standard deviations.

    Raises ValueError for a sigma, reference or interval that cannot be.
    """

    target: float
    sigma: float
    reference: float = REFERENCE
    interval: float = INTERVAL
    _point: CusumPoint = field(default=AT_REST, init=False)

    def __post_init__(self) -> None:
        if self.sigma <= 0 or self.reference < 0 or self.interval <= 0:
            raise ValueError(
                f"expected sigma > 0, reference >= 0, interval > 0, got {self.sigma}, {self.reference}, {self.interval}"
            )

    def add(self, value: float) -> CusumPoint:
        """Takes a finite value and gives the chart's point. Raises ValueError for what is no number."""
        if not math.isfinite(value):
            raise ValueError(f"expected a finite value, got {value}")
        slack, before = self.reference * self.sigma, self._point
        upper = max(0.0, before.upper + value - self.target - slack)
        lower = max(0.0, before.lower + self.target - value - slack)
        self._point = CusumPoint(
            upper=upper,
            lower=lower,
            upper_since=before.upper_since + 1 if upper > 0 else 0,
            lower_since=before.lower_since + 1 if lower > 0 else 0,
            outside=max(upper, lower) > self.interval * self.sigma,
        )
        return self._point
