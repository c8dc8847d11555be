"""Hotelling's T2 and the residual Q (SPE) of rows of several channels against a baseline of normal operation.

Principal components of the baseline's covariance; T2 = sum t^2 / l over the retained ones, Q = sum t^2 over the rest. T2 sees a shift
along what usually varies, Q one that breaks the usual relation of the channels. Limits for a new row: T2 <= k (m + 1) (m - 1) /
(m^2 - m k) F(k, m - k) (NIST/SEMATECH e-Handbook 6.5.4.3.4; Ryan 2000, chapter 9); Q by Pearson's three-moment chi-square (J. P.
Imhof, "Computing the Distribution of Quadratic Forms in Normal Variables", Biometrika 48, 1961, which finds it close in the upper tail).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2
from scipy.stats import f as f_distribution

RETAINED_RATIO = 0.9  # of the baseline's variance
FALSE_ALARM_RATIO = 0.0027  # of both limits together, each half

Rows = npt.NDArray[np.float64]


class Distances(NamedTuple):
    """How far a row lies from the baseline, and what each channel adds to the statistic that is furthest beyond its limit.

    `contributions` float64 [channels] sum to that statistic; a channel may lower it.
    """

    t2: float
    q: float
    outside: bool
    contributions: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class MultivariateModel:
    """A fitted baseline: `mean` [p], `axes` [p, p] with one component per column, `variances` [p] falling, the first `retained` for T2."""

    mean: Rows
    axes: Rows
    variances: Rows
    retained: int
    t2_limit: float
    q_limit: float

    @staticmethod
    def fit(
        rows: Rows, *, retained_ratio: float = RETAINED_RATIO, independent_rows: float | None = None
    ) -> MultivariateModel:
        """From rows of normal operation, float64 [m, p] in comparable units, m > p + 1.

        `independent_rows`: how many independent ones they are worth, where each follows the one before; None: as many as there are.
        Raises ValueError for fewer rows, for what is no number, and for a channel that never changes.
        """
        if rows.ndim != 2 or len(rows) <= rows.shape[1] + 1 or not np.isfinite(rows).all():
            raise ValueError(f"expected more finite rows than channels and one, got an array of shape {rows.shape}")
        if (np.ptp(rows, axis=0) == 0).any():
            raise ValueError("expected channels that vary")
        falling_variances, columns = np.linalg.eigh(np.atleast_2d(np.cov(rows.T)))
        variances = np.maximum(falling_variances[::-1], 0.0)
        shares = np.cumsum(variances) / variances.sum()
        tangible = int(np.sum(variances > variances[0] * 1e-12))
        retained = min(int(np.searchsorted(shares, retained_ratio - 1e-12)) + 1, tangible)
        m = independent_rows or len(rows)
        if m <= retained + 1:
            raise ValueError(f"expected more than {retained + 1} independent rows for as many components, got {m:.1f}")
        t2_limit = (
            retained * (m + 1) * (m - 1) / (m * m - m * retained)
            * float(f_distribution.isf(FALSE_ALARM_RATIO / 2, retained, m - retained))
        )  # fmt: skip
        return MultivariateModel(
            mean=rows.mean(axis=0),
            axes=columns[:, ::-1],
            variances=variances,
            retained=retained,
            t2_limit=t2_limit,
            q_limit=_q_limit(variances[retained:]),
        )

    def distances(self, row: Rows) -> Distances:
        """Of one row, float64 [p]."""
        centred = row - self.mean
        scores = centred @ self.axes
        kept, rest = slice(0, self.retained), slice(self.retained, None)
        # T2 = sum over channels of x_j * (scores / variances) . axes_j: each term is that channel's share.
        of_t2 = centred * (self.axes[:, kept] @ (scores[kept] / self.variances[kept]))
        of_q = centred * (self.axes[:, rest] @ scores[rest])
        t2, q = float(of_t2.sum()), float(of_q.sum())
        q_excess = q / self.q_limit if self.q_limit > 0 else 0.0
        return Distances(
            t2=t2,
            q=q,
            outside=t2 > self.t2_limit or q_excess > 1,
            contributions=of_q if q_excess > t2 / self.t2_limit else of_t2,
        )


def _q_limit(variances: Rows) -> float:
    """The limit of a sum of squares of normal values with these variances, those of the components that were not retained; 0 where there
    is no residual.

    A chi-square with the first three moments of the sum: one large variance beside many small ones, as an asset's channels have them,
    leaves the limit of Jackson and Mudholkar (h0 < 0) and of two moments alone (G. E. P. Box 1954) far off.
    """
    one, two, three = (float(np.sum(variances**power)) for power in (1, 2, 3))
    if two <= 0:
        return 0.0
    freedom = two**3 / three**2
    return float(one + math.sqrt(two / freedom) * (chi2.isf(FALSE_ALARM_RATIO / 2, freedom) - freedom))
