"""X-bar with R or S, and individuals with moving range (I-MR): limits from phase I measurements.

Montgomery, chapter 6; NIST/SEMATECH e-Handbook 6.3.2.1 (X-bar, R, S) and 6.3.2.2 (individuals).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.spc.control_constants import ControlConstants, control_constants


class Limits(NamedTuple):
    """Centre and limits, in the unit of what is plotted. In control is `lower <= value <= upper`."""

    centre: float
    lower: float
    upper: float


class MeasurementLimits(NamedTuple):
    """Limits of the location chart, of the spread chart beside it, and the standard deviation within subgroups.

    `sigma` is the process's own, in the unit of the measurement: mean range / d2 or mean deviation / c4.
    """

    location: Limits
    spread: Limits
    sigma: float


def xbar_r(subgroups: Sequence[Sequence[float]]) -> MeasurementLimits:
    """X-bar and R charts of subgroups of equal size, [k, n] values with n >= 2."""
    values, constants = _checked(subgroups)
    mean_range = float(np.mean(np.ptp(values, axis=1)))
    centre = float(np.mean(values))
    return MeasurementLimits(
        location=Limits(centre, centre - constants.a2 * mean_range, centre + constants.a2 * mean_range),
        spread=Limits(mean_range, constants.range_lower * mean_range, constants.range_upper * mean_range),
        sigma=mean_range / constants.d2,
    )


def xbar_s(subgroups: Sequence[Sequence[float]]) -> MeasurementLimits:
    """X-bar and S charts of subgroups of equal size, [k, n] values with n >= 2."""
    values, constants = _checked(subgroups)
    mean_deviation = float(np.mean(np.std(values, axis=1, ddof=1)))
    centre = float(np.mean(values))
    return MeasurementLimits(
        location=Limits(centre, centre - constants.a3 * mean_deviation, centre + constants.a3 * mean_deviation),
        spread=Limits(mean_deviation, constants.b3 * mean_deviation, constants.b4 * mean_deviation),
        sigma=mean_deviation / constants.c4,
    )


def individuals(values: Sequence[float]) -> MeasurementLimits:
    """I-MR charts: single values in order of time, at least two; the moving range is that of two neighbours."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        raise ValueError(f"expected at least 2 finite values, got {len(values)}")
    constants = control_constants(2)
    mean_range = float(np.mean(np.abs(np.diff(values))))
    centre, sigma = float(np.mean(values)), mean_range / constants.d2
    return MeasurementLimits(
        location=Limits(centre, centre - 3 * sigma, centre + 3 * sigma),
        spread=Limits(mean_range, 0.0, constants.range_upper * mean_range),
        sigma=sigma,
    )


def _checked(subgroups: Sequence[Sequence[float]]) -> tuple[npt.NDArray[np.float64], ControlConstants]:
    sizes = {len(group) for group in subgroups}
    if len(sizes) != 1:
        raise ValueError(f"expected subgroups of one size, got sizes {sorted(sizes)}")
    values = np.array(subgroups, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("expected finite values")
    return values, control_constants(sizes.pop())
