"""What inspections measured on a part, for the charts of the plant file that ask for it: one value a part and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.chart_settings import FINDING_MEASURES, Chart, PictureMeasurement
from schemas.inspections import Defect
from schemas.statistics_settings import StatisticsSettings
from schemas.verdicts import CountedVerdict, MeasuredView, Verdict, ViewResult

AnyMeasuredView = ViewResult | MeasuredView

Measured = tuple[tuple[str, float], ...]
"""Name of a chart and its value."""


class PictureChart(NamedTuple):
    """A chart of measurements from pictures."""

    chart: Chart
    figure: PictureMeasurement


def picture_charts(settings: StatisticsSettings) -> tuple[PictureChart, ...]:
    """Those of the plant file."""
    return tuple(
        PictureChart(chart, chart.figure) for chart in settings.charts if isinstance(chart.figure, PictureMeasurement)
    )


def needs_every_view(settings: StatisticsSettings) -> bool:
    """Whether views are measured on which nothing was found: then those of every verdict have to be read."""
    return any(each.figure.measure not in FINDING_MEASURES for each in picture_charts(settings))


def measured_views(verdict: Verdict | CountedVerdict) -> Sequence[AnyMeasuredView]:
    """The views with what was measured on them; of a verdict that was read for counting, as far as they were read."""
    return verdict.views if isinstance(verdict, Verdict) else verdict.measured


def measured(views: Sequence[AnyMeasuredView], charts: Iterable[PictureChart]) -> Measured:
    """The value of each chart that has one on these views of a part."""
    found = ((each.chart.name, value_of(each.figure, views)) for each in charts)
    return tuple((name, value) for name, value in found if value is not None)


def value_of(figure: PictureMeasurement, views: Iterable[AnyMeasuredView]) -> float | None:
    """The value of a part, by its views; None where it has none: no such finding, no such view, or one that was not inspected."""
    mine = [view for view in views if figure.view in (None, view.view)]
    if figure.measure in FINDING_MEASURES:
        value = _of_findings(figure, mine)
    else:
        inspected = next((view for view in mine if view.outcome == "inspected"), None)
        value = None if inspected is None else _of_view(figure.measure, inspected)
    return value if value is not None and math.isfinite(value) else None


def _of_findings(figure: PictureMeasurement, views: Iterable[AnyMeasuredView]) -> float | None:
    found = [defect for view in views for defect in view.defects if figure.class_name in (None, defect.class_name)]
    if not found:
        return None
    # the same one in every replay, whatever the order of views and findings
    largest = max(found, key=lambda each: (each.area_px, each.score, each.box))
    return _of_defect(figure.measure, largest)


def _of_defect(measure: str, defect: Defect) -> float:
    x1, y1, x2, y2 = defect.box
    match measure:
        case "area_px":
            return float(defect.area_px)
        case "width_px":
            return float(x2 - x1)
        case "height_px":
            return float(y2 - y1)
        case "centre_x_px":
            return (x1 + x2) / 2
        case "centre_y_px":
            return (y1 + y2) / 2
    return float(defect.score)


def _of_view(measure: str, view: AnyMeasuredView) -> float | None:
    if measure == "anomaly_score":
        return float(view.anomaly_score)
    if view.imaging is None:
        return None
    value: float = getattr(view.imaging, measure)
    return float(value)
