"""Frozen baselines: the limits that phase I found, as a plain record that says who froze them, when, and from what.

Phase I looks back: are these points in control, and what are the limits? Phase II watches new points against limits that do not move
(Montgomery, chapter 5). New limits are a new record; nothing ever changes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from processors.spc.attribute_charts import AttributeChart
from processors.spc.dispersion import Dispersion, phase_one


class BaselinePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One phase I point: `count` bad parts or defects in `size` parts or units of the window that begins at `start_at_ns`."""

    start_at_ns: int
    count: int
    size: float


class Exclusion(msgspec.Struct, frozen=True, kw_only=True):
    """A phase I point that was left out, and the assignable cause that somebody named for it."""

    start_at_ns: int
    cause: str


class CountsOfPhaseOne(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen attribute chart.

    `subject` is what it charts (`station/aoi-1`), `data` where its points can be read again (topic and window length). `rate` is bad
    parts per part or defects per unit; `sigma_z` is Laney's factor, None for exact limits. `p_value` is of the test for overdispersion,
    `outside_exact` how many of the points lie outside exact limits all the same.
    """

    subject: str
    chart: AttributeChart
    rate: float
    confidence: float
    sigma_z: float | None
    p_value: float | None
    points: int
    outside_exact: int
    counted: int
    looked_at: float
    from_ns: int
    to_ns: int
    excluded: tuple[Exclusion, ...]
    data: str
    frozen_by: str
    frozen_at_ns: int


def checked_exclusions(
    excluded: Iterable[Exclusion], *, times_ns: Sequence[int], frozen_by: str, frozen_at_ns: int
) -> dict[int, Exclusion]:
    """The exclusions by time of their point. Raises ValueError for what makes a baseline worth nothing: see `freeze`."""
    left_out = {exclusion.start_at_ns: exclusion for exclusion in excluded}
    known = set(times_ns)
    if not frozen_by.strip():
        raise ValueError("expected the name of who freezes the baseline")
    if not left_out.keys() <= known or not all(exclusion.cause.strip() for exclusion in left_out.values()):
        raise ValueError("expected exclusions that each name one of the points and its cause")
    if len(known) != len(times_ns) or any(at_ns > frozen_at_ns for at_ns in known):
        raise ValueError("expected points of different times, all before the freezing")
    return left_out


def freeze(
    *,
    subject: str,
    chart: AttributeChart,
    points: Sequence[BaselinePoint],
    excluded: Iterable[Exclusion] = (),
    confidence: float,
    data: str,
    frozen_by: str,
    frozen_at_ns: int,
) -> tuple[CountsOfPhaseOne, Dispersion]:
    """Freezes limits from phase I points; the order in which they are given does not matter.

    Raises ValueError without a name, without points, for an exclusion that names no point or no cause, and for points after the freezing.
    """
    left_out = checked_exclusions(
        excluded, times_ns=[point.start_at_ns for point in points], frozen_by=frozen_by, frozen_at_ns=frozen_at_ns
    )
    kept = sorted((point for point in points if point.start_at_ns not in left_out), key=lambda point: point.start_at_ns)
    limits, dispersion = phase_one(
        chart=chart, counts=[p.count for p in kept], sizes=[p.size for p in kept], confidence=confidence
    )
    baseline = CountsOfPhaseOne(
        subject=subject,
        chart=chart,
        rate=limits.rate,
        confidence=confidence,
        sigma_z=limits.sigma_z,
        p_value=dispersion.p_value,
        points=len(kept),
        outside_exact=dispersion.outside_exact,
        counted=sum(point.count for point in kept),
        looked_at=sum(point.size for point in kept),
        from_ns=kept[0].start_at_ns,
        to_ns=kept[-1].start_at_ns,
        excluded=tuple(left_out[start_at_ns] for start_at_ns in sorted(left_out)),
        data=data,
        frozen_by=frozen_by,
        frozen_at_ns=frozen_at_ns,
    )
    return baseline, dispersion
