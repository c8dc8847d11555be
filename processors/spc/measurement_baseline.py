"""Frozen baselines of measurements: limits of X-bar/R, X-bar/S or I-MR charts; an EWMA or CUSUM takes centre and sigma of them.

As `baseline`: phase I finds them, a person freezes them, phase II never moves them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from processors.spc.baseline import Exclusion, checked_exclusions
from processors.spc.measurement_charts import MeasurementLimits, individuals, xbar_r, xbar_s
from processors.spc.probability_limits import THREE_SIGMA


class MeasurementChart(StrEnum):
    """The charts of measurements; individuals are subgroups of one value."""

    XBAR_R = "xbar_r"
    XBAR_S = "xbar_s"
    INDIVIDUALS = "individuals"


class MeasurementPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One phase I subgroup, taken at `at_ns`, in the unit of the measurement."""

    at_ns: int
    values: tuple[float, ...]


class MeasurementsOfPhaseOne(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen chart of measurements. `subject` is what is measured (`press-1/pressure, bar`), `data` where it can be read again."""

    subject: str
    chart: MeasurementChart
    limits: MeasurementLimits
    subgroup_size: int
    subgroups: int
    from_ns: int
    to_ns: int
    excluded: tuple[Exclusion, ...]
    data: str
    frozen_by: str
    frozen_at_ns: int


def freeze_measurements(
    *,
    subject: str,
    chart: MeasurementChart,
    points: Sequence[MeasurementPoint],
    excluded: Iterable[Exclusion] = (),
    confidence: float = THREE_SIGMA,
    data: str,
    frozen_by: str,
    frozen_at_ns: int,
) -> MeasurementsOfPhaseOne:
    """Freezes limits from phase I subgroups; they are put in order of time first.

    Raises ValueError without a name, for an exclusion that names no point or no cause, for points after the freezing, and for values
    that the chart cannot take.
    """
    left_out = checked_exclusions(
        excluded, times_ns=[point.at_ns for point in points], frozen_by=frozen_by, frozen_at_ns=frozen_at_ns
    )
    kept = sorted((point for point in points if point.at_ns not in left_out), key=lambda point: point.at_ns)
    limits = _limits(chart, [point.values for point in kept], confidence)
    return MeasurementsOfPhaseOne(
        subject=subject,
        chart=chart,
        limits=limits,
        subgroup_size=len(kept[0].values),
        subgroups=len(kept),
        from_ns=kept[0].at_ns,
        to_ns=kept[-1].at_ns,
        excluded=tuple(left_out[at_ns] for at_ns in sorted(left_out)),
        data=data,
        frozen_by=frozen_by,
        frozen_at_ns=frozen_at_ns,
    )


def _limits(chart: MeasurementChart, subgroups: Sequence[Sequence[float]], confidence: float) -> MeasurementLimits:
    match chart:
        case MeasurementChart.XBAR_R:
            return xbar_r(subgroups, confidence=confidence)
        case MeasurementChart.XBAR_S:
            return xbar_s(subgroups, confidence=confidence)
    if any(len(group) != 1 for group in subgroups):
        raise ValueError("expected one value per point of a chart of individuals")
    return individuals([value for (value,) in subgroups], confidence=confidence)
