"""Frozen baselines of the plant file as the charts use them, and as phase I makes them (`processors.spc` has the formulas)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

import msgspec

from processors.spc.attribute_charts import AttributeChart, AttributeLimits
from processors.spc.baseline import BaselinePoint, Exclusion, freeze
from processors.spc.measurement_baseline import MeasurementChart, MeasurementPoint, freeze_measurements
from processors.spc.measurement_charts import Limits
from schemas.chart_settings import (
    AnyBaseline,
    Chart,
    CountedBaseline,
    LeftOut,
    MeasuredBaseline,
    NotOk,
    Span,
    is_counted,
    is_windowed,
)
from schemas.charts import ChartPoint

DIGEST_CHARACTERS = 12
FORCED_LANEY = ("p_laney", "u_laney")


def digest(baseline: AnyBaseline) -> str:
    """The first characters of the sha256 of a record: what points name it by."""
    return hashlib.sha256(msgspec.json.encode(baseline, order="deterministic")).hexdigest()[:DIGEST_CHARACTERS]


def attribute_chart(chart: Chart) -> AttributeChart:
    """The attribute chart behind one of counts; an EWMA or CUSUM stands on that of the rate."""
    match chart.chart:
        case "np":
            return AttributeChart.NP
        case "c":
            return AttributeChart.C
    return AttributeChart.P if isinstance(chart.figure, NotOk) else AttributeChart.U


@lru_cache(maxsize=1024)
def count_limits(chart: Chart, baseline: CountedBaseline) -> AttributeLimits:
    """Limits of counts against a baseline."""
    return AttributeLimits(
        chart=attribute_chart(chart),
        rate=baseline.rate,
        confidence=chart.confidence,
        sigma_z=baseline.sigma_z,
    )


def frozen(
    chart: Chart, points: Iterable[ChartPoint], *, excluded: Sequence[LeftOut], frozen_by: str, frozen_at_ns: int
) -> AnyBaseline:
    """A baseline from the points of one subject, in any order; it applies from the freezing on. Moments without a value are left out.

    Of windows that overlap only some that do not are taken (`apart`): from the same parts twice a chart would seem steadier than it is.
    Raises ValueError for what makes a baseline worth nothing: no points, nobody's name, an exclusion without its cause or point.
    """
    used = apart(chart, points, keep={each.start_at_ns for each in excluded})
    if not used:
        raise ValueError("expected points with parts or readings, got none")
    left_out = [Exclusion(start_at_ns=each.start_at_ns, cause=each.cause) for each in excluded]
    make = _counted if is_counted(chart) else _measured
    return make(chart, used, left_out, frozen_by, frozen_at_ns)


def apart(chart: Chart, points: Iterable[ChartPoint], *, keep: Collection[int] = ()) -> list[ChartPoint]:
    """The newest revision of each point with a value, in order of time. Of windows that overlap, the first that overlap neither each other
    nor those that begin at the moments to `keep`."""
    newest: dict[int, ChartPoint] = {}
    for point in points:
        known = newest.get(point.start_at_ns)
        if known is None or point.revision >= known.revision:
            newest[point.start_at_ns] = point
    ordered = [point for _, point in sorted(newest.items()) if point.value is not None]
    if chart.over != "sliding":
        return ordered
    chosen = [point for point in ordered if point.start_at_ns in keep]
    for point in ordered:
        if all(point.end_at_ns <= other.start_at_ns or other.end_at_ns <= point.start_at_ns for other in chosen):
            chosen.append(point)
    return sorted(chosen, key=lambda point: point.start_at_ns)


def _counted(
    chart: Chart, points: Sequence[ChartPoint], excluded: Sequence[Exclusion], frozen_by: str, frozen_at_ns: int
) -> CountedBaseline:
    subject = points[0].subject
    found, dispersion = freeze(
        subject=subject,
        chart=attribute_chart(chart),
        points=[BaselinePoint(start_at_ns=each.start_at_ns, count=each.count, size=each.size) for each in points],
        excluded=excluded,
        confidence=chart.confidence,
        data=_data(chart),
        frozen_by=frozen_by,
        frozen_at_ns=frozen_at_ns,
    )
    return CountedBaseline(
        chart=chart.name,
        subject=subject,
        points=found.points,
        from_ns=found.from_ns,
        to_ns=found.to_ns,
        data=found.data,
        frozen_by=frozen_by,
        frozen_at_ns=frozen_at_ns,
        applies_from_ns=frozen_at_ns,
        excluded=_left_out(found.excluded),
        rate=found.rate,
        counted=found.counted,
        looked_at=found.looked_at,
        outside_exact=found.outside_exact,
        p_value=found.p_value,
        sigma_z=dispersion.sigma_z if chart.chart in FORCED_LANEY else found.sigma_z,
    )


def _measured(
    chart: Chart, points: Sequence[ChartPoint], excluded: Sequence[Exclusion], frozen_by: str, frozen_at_ns: int
) -> MeasuredBaseline:
    subject = points[0].subject
    found = freeze_measurements(
        subject=subject,
        chart=_measurement_chart(chart),
        points=[MeasurementPoint(at_ns=each.start_at_ns, values=each.values) for each in points],
        excluded=excluded,
        data=_data(chart),
        frozen_by=frozen_by,
        frozen_at_ns=frozen_at_ns,
    )
    return MeasuredBaseline(
        chart=chart.name,
        subject=subject,
        points=found.subgroups,
        from_ns=found.from_ns,
        to_ns=found.to_ns,
        data=found.data,
        frozen_by=frozen_by,
        frozen_at_ns=frozen_at_ns,
        applies_from_ns=frozen_at_ns,
        excluded=_left_out(found.excluded),
        location=_span(found.limits.location),
        spread=_span(found.limits.spread),
        sigma=found.limits.sigma,
        subgroup=found.subgroup_size,
    )


def _measurement_chart(chart: Chart) -> MeasurementChart:
    if chart.subgroup == 1:
        return MeasurementChart.INDIVIDUALS
    return MeasurementChart.XBAR_R if chart.chart == "xbar_r" else MeasurementChart.XBAR_S


def _data(chart: Chart) -> str:
    windows = "shifts" if chart.over == "shift" else f"windows of {chart.window_ms} ms"
    apart = " that do not overlap" if chart.over == "sliding" else ""
    sizes = [f"{windows}{apart}"] * is_windowed(chart) + [f"subgroups of {chart.subgroup}"] * (not is_counted(chart))
    return f"topic charts, chart {chart.name}, {', '.join(sizes)}"


def _span(limits: Limits) -> Span:
    return Span(centre=limits.centre, lower=limits.lower, upper=limits.upper)


def _left_out(excluded: Iterable[Exclusion]) -> tuple[LeftOut, ...]:
    return tuple(LeftOut(start_at_ns=each.start_at_ns, cause=each.cause) for each in excluded)
