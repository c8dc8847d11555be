"""Yield figures of a window's sums: share not OK, first pass yield, DPMO, and its p-chart point."""

from __future__ import annotations

from processors.quality.yields import defects_per_million
from processors.spc.attribute_charts import AttributeChart, AttributeLimits
from schemas.statistics import ControlPoint, PaneCounts
from schemas.statistics_settings import PChart


def control_point(counts: PaneCounts, chart: PChart) -> ControlPoint | None:
    """The p-chart point of a window: share of NOT_OK among the decided parts; None where none was decided."""
    decided = decided_parts(counts)
    limits = AttributeLimits(chart=AttributeChart.P, rate=chart.baseline_ratio, confidence=chart.confidence)
    point = limits.point(count=counts.not_ok, size=decided)
    if point is None:
        return None
    return ControlPoint(
        value=point.value,
        centre=point.centre,
        lower=point.lower,
        upper=point.upper,
        confidence=chart.confidence,
        sample_size=decided,
        outside=point.outside,
    )


def not_ok_ratio(counts: PaneCounts) -> float | None:
    """NOT_OK among the decided parts, in [0, 1]; None where none was decided."""
    decided = decided_parts(counts)
    return counts.not_ok / decided if decided else None


def first_pass_yield_ratio(counts: PaneCounts) -> float | None:
    """Units that were OK on their first visit, of all units on their first visit to a station (ISO 22400-2, first pass yield)."""
    return counts.first_pass_ok / counts.units if counts.units else None


def decided_parts(counts: PaneCounts) -> int:
    """The parts that were looked at whole: a dead camera adds none."""
    return counts.ok + counts.not_ok


def decided_defects(counts: PaneCounts, class_name: str | None = None) -> int:
    """Defects on the decided parts, of one class where it is given."""
    if class_name is None:
        return counts.defects - sum(counts.undecided_defects_by_class.values())
    return counts.defects_by_class.get(class_name, 0) - counts.undecided_defects_by_class.get(class_name, 0)


def decided_opportunities(counts: PaneCounts) -> int:
    """Opportunities for a defect on the decided parts."""
    return counts.opportunities - counts.undecided_opportunities


def dpmo(counts: PaneCounts) -> float | None:
    """Defects per million opportunities, of decided parts; None where no opportunity was counted."""
    return defects_per_million(decided_defects(counts), decided_opportunities(counts))
