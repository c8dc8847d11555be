"""X-bar with R or S, and individuals with moving range (I-MR): limits from phase I measurements.

Montgomery, chapter 6; NIST/SEMATECH e-Handbook 6.3.2.1 (X-bar, R, S) and 6.3.2.2 (individuals): three standard deviations, which is a
`confidence` of 0.9973. Any other: by probability (`probability_limits`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.spc.control_constants import ControlConstants, control_constants
from processors.spc.probability_limits import THREE_SIGMA, Spread, spread_limits, width


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


def xbar_r(subgroups: Sequence[Sequence[float]], *, confidence: float = THREE_SIGMA) -> MeasurementLimits:
    """X-bar and R charts of subgroups of equal size, [k, n] values with n >= 2."""
    values, constants = _checked(subgroups)
    mean_range = float(np.mean(np.ptp(values, axis=1)))
    centre = float(np.mean(values))
    if confidence != THREE_SIGMA:
        sigma = mean_range / constants.d2
        return _by_probability(
            (centre, mean_range), sigma, size=values.shape[1], spread=Spread.RANGE, confidence=confidence
        )
    return MeasurementLimits(
        location=Limits(centre, centre - constants.a2 * mean_range, centre + constants.a2 * mean_range),
        spread=Limits(mean_range, constants.range_lower * mean_range, constants.range_upper * mean_range),
        sigma=mean_range / constants.d2,
    )


def xbar_s(subgroups: Sequence[Sequence[float]], *, confidence: float = THREE_SIGMA) -> MeasurementLimits:
    """X-bar and S charts of subgroups of equal size, [k, n] values with n >= 2."""
    values, constants = _checked(subgroups)
    mean_deviation = float(np.mean(np.std(values, axis=1, ddof=1)))
    centre = float(np.mean(values))
    if confidence != THREE_SIGMA:
        sigma = mean_deviation / constants.c4
        return _by_probability(
            (centre, mean_deviation), sigma, size=values.shape[1], spread=Spread.DEVIATION, confidence=confidence
        )
    return MeasurementLimits(
        location=Limits(centre, centre - constants.a3 * mean_deviation, centre + constants.a3 * mean_deviation),
        spread=Limits(mean_deviation, constants.b3 * mean_deviation, constants.b4 * mean_deviation),
        sigma=mean_deviation / constants.c4,
    )


def individuals(values: Sequence[float], *, confidence: float = THREE_SIGMA) -> MeasurementLimits:
    """I-MR charts: single values in order of time, at least two; the moving range is that of two neighbours."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        raise ValueError(f"expected at least 2 finite values, got {len(values)}")
    constants = control_constants(2)
    mean_range = float(np.mean(np.abs(np.diff(values))))
    centre, sigma = float(np.mean(values)), mean_range / constants.d2
    if confidence != THREE_SIGMA:
        return _by_probability((centre, mean_range), sigma, size=1, spread=Spread.RANGE, confidence=confidence)
    return MeasurementLimits(
        location=Limits(centre, centre - 3 * sigma, centre + 3 * sigma),
        spread=Limits(mean_range, 0.0, constants.range_upper * mean_range),
        sigma=sigma,
    )


def _by_probability(
    centres: tuple[float, float], sigma: float, *, size: int, spread: Spread, confidence: float
) -> MeasurementLimits:
    centre, spread_centre = centres
    reach = width(confidence) * sigma / math.sqrt(size)
    lower, upper = spread_limits(spread, size=max(size, 2), confidence=confidence)
    return MeasurementLimits(
        location=Limits(centre, centre - reach, centre + reach),
        spread=Limits(spread_centre, lower * sigma, upper * sigma),
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
