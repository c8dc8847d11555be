"""Phase I looks back: which of the points that a baseline is made from lie outside its own limits. Each wants a look, and a cause, before
anybody signs (Montgomery, chapter 5)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from processors.chart_baselines import apart, attribute_chart, measurement_chart
from processors.chart_points import Sample, plot
from processors.spc.measurement_baseline import MeasurementChart
from schemas.chart_settings import AnyBaseline, Chart, CountedBaseline
from schemas.charts import ChartPoint

MEASURED = {
    MeasurementChart.INDIVIDUALS: "i_mr",
    MeasurementChart.XBAR_R: "xbar_r",
    MeasurementChart.XBAR_S: "xbar_s",
}


def outside(baseline: AnyBaseline, points: Iterable[ChartPoint]) -> list[ChartPoint]:
    """The points behind a baseline that lie beyond a limit, by value or by spread, oldest first and with these limits; from all points of
    its subject, in any order. Of counts by exact limits, whatever Laney's factor: it hides what wanders. An EWMA or CUSUM is looked at as
    the chart of single points that it stands on."""
    left_out = {each.start_at_ns for each in baseline.excluded}
    chart, plain = _single_points(baseline)
    used = [each for each in apart(baseline.settings, points, keep=left_out) if each.start_at_ns not in left_out]
    samples = [Sample.of(each) for each in used]
    found = []
    for place, point in enumerate(used):
        plotted = plot(chart, plain, samples[max(0, place - 1) : place + 1])
        if plotted.outside or (plotted.spread is not None and plotted.spread.outside):
            limits = {
                name: getattr(plotted, name) for name in ("value", "centre", "lower", "upper", "outside", "spread")
            }
            found.append(msgspec.structs.replace(point, **limits))
    return found


def _single_points(baseline: AnyBaseline) -> tuple[Chart, AnyBaseline]:
    """The chart of single points behind a baseline, and the baseline with its exact limits."""
    settings = baseline.settings
    if isinstance(baseline, CountedBaseline):
        kind = attribute_chart(settings).value
        chart = msgspec.structs.replace(settings, chart=kind, rules=())
        return chart, msgspec.structs.replace(baseline, settings=chart, sigma_z=None)
    chart = msgspec.structs.replace(settings, chart=MEASURED[measurement_chart(settings)], rules=())
    return chart, baseline
