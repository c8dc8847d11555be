"""What is wrong with the control charts of a plant file, and with the frozen baselines that they are held against."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.chart_settings import (
    DEFECT_KINDS,
    FINDING_MEASURES,
    MEASUREMENT_KINDS,
    PART_KINDS,
    WITHOUT_RULES,
    AnyBaseline,
    Chart,
    CountedBaseline,
    Defects,
    MeasuredBaseline,
    Measurement,
    NotOk,
    PictureMeasurement,
    is_counted,
    is_windowed,
)
from schemas.plant import Plant
from schemas.plant_shape import nearest
from schemas.plant_yaml import Finding, Place
from schemas.watch_checks import specification_findings

KINDS = {
    NotOk: PART_KINDS,
    Defects: DEFECT_KINDS,
    Measurement: MEASUREMENT_KINDS,
    PictureMeasurement: MEASUREMENT_KINDS,
}


def chart_findings(plant: Plant) -> Iterator[Finding]:
    """Everything in `statistics.charts` and `statistics.baselines` that cannot work."""
    charts: dict[str, Chart] = {}
    for index, chart in enumerate(plant.statistics.charts):
        where: Place = ("statistics", "charts", index)
        if chart.name in charts:
            yield (*where, "name"), f"a name of its own; `{chart.name}` stands twice", None
        charts[chart.name] = chart
        yield from _chart(chart, where)
        yield from _windowed(chart, plant, where) if is_windowed(chart) else _measured(chart, plant, where)
    for index, baseline in enumerate(plant.statistics.baselines):
        yield from _baseline(baseline, charts, ("statistics", "baselines", index))


def _chart(chart: Chart, where: Place) -> Iterator[Finding]:
    kinds = KINDS[type(chart.figure)]
    if chart.chart not in kinds:
        known = ", ".join(f"`{kind}`" for kind in kinds)
        yield (*where, "chart"), f"a chart for what `figure` says: {known}; not `{chart.chart}`", None
    if chart.rules and chart.chart in WITHOUT_RULES:
        yield (*where, "rules"), f"no run rules: the points of {chart.chart} follow from each other", None
    if not 0 < chart.weight <= 1:
        yield (*where, "weight"), f"a number above 0 and at most 1, not {chart.weight}", None
    if chart.confidence in (0, 1):
        yield (*where, "confidence"), "a number between 0 and 1, neither of them", None
    if not is_counted(chart):
        yield from _subgroup(chart, where)


def _subgroup(chart: Chart, where: Place) -> Iterator[Finding]:
    what = "readings" if isinstance(chart.figure, Measurement) else "parts"
    if chart.chart == "i_mr" and chart.subgroup != 1:
        yield (*where, "subgroup"), f"1 for single values, or `xbar_s`; not {chart.subgroup}", None
    if chart.chart in ("xbar_r", "xbar_s") and chart.subgroup < 2:
        yield where, f"the key `subgroup`: 2 {what} or more, of which the spread is taken", None


def _window(chart: Chart, plant: Plant, where: Place) -> Iterator[Finding]:
    statistics = plant.statistics
    if chart.over == "shift":
        if not statistics.shifts:
            yield (*where, "over"), "`shifts` under `statistics`, for a chart with a point for each", None
        if chart.window_ms is not None:
            yield (*where, "window_ms"), "no `window_ms`: a shift is as long as it is", None
        return
    sliding = tuple(window.length_ms for window in statistics.sliding)
    key, lengths = ("sliding", sliding) if chart.over == "sliding" else ("windows_ms", statistics.windows_ms)
    known = ", ".join(str(length) for length in lengths)
    if not lengths:
        yield (*where, "over"), "`sliding` under `statistics`, for a chart over windows that overlap", None
    elif chart.window_ms is None:
        yield where, f"the key `window_ms`: one of `{key}` ({known})", None
    elif chart.window_ms not in lengths:
        also = (
            "; for the sliding windows of that length `over: sliding`"
            if chart.over == "tumbling" and chart.window_ms in sliding
            else ""
        )
        yield (*where, "window_ms"), f"one of `{key}` ({known}), not {chart.window_ms}{also}", None


def _windowed(chart: Chart, plant: Plant, where: Place) -> Iterator[Finding]:
    yield from _window(chart, plant, where)
    levels = ["station", "line", *plant.statistics.by]
    if chart.by not in levels:
        listed = ", ".join(f"`{level}`" for level in levels)
        yield (*where, "by"), f"one of {listed} (see `statistics.by`); `{chart.by}` is none", nearest(chart.by, levels)
    if is_counted(chart) and chart.subgroup != 1:
        yield (*where, "subgroup"), "no subgroup: a window is the sample of a chart of counts", None
    if isinstance(chart.figure, PictureMeasurement):
        yield from _picture(chart, chart.figure, plant, where)
    wanted = chart.figure.class_name if isinstance(chart.figure, Defects | PictureMeasurement) else None
    classes = sorted({each.name for recipe in plant.recipes for each in recipe.classes})
    if wanted is not None and wanted not in classes:
        yield (
            (*where, "figure", "class"),
            f"a class of some recipe; `{wanted}` is none",
            nearest(wanted, classes),
        )


def _picture(chart: Chart, figure: PictureMeasurement, plant: Plant, where: Place) -> Iterator[Finding]:
    if chart.by == "line":
        expected = (
            "`station`, or one of `statistics.by`: what stations measure differently does not belong into one subgroup"
        )
        yield (*where, "by"), expected, None
    views = sorted({view.name for recipe in plant.recipes for view in recipe.views})
    if figure.view is not None and figure.view not in views:
        expected = f"a view of some recipe; `{figure.view}` is none"
        yield (*where, "figure", "view"), expected, nearest(figure.view, views)
    if figure.measure not in FINDING_MEASURES:
        if figure.view is None:
            yield (*where, "figure"), f"the key `view`: every view has a level of `{figure.measure}` of its own", None
        if figure.class_name is not None:
            yield (*where, "figure", "class"), f"no class: `{figure.measure}` is that of a view, not of a finding", None
    if figure.specification is not None:
        yield from specification_findings(figure.specification, (*where, "figure", "specification"))


def _measured(chart: Chart, plant: Plant, where: Place) -> Iterator[Finding]:
    assert isinstance(chart.figure, Measurement)
    assets = {asset.name: asset.channels for asset in plant.assets}
    channels = {channel.name: channel for channel in assets.get(chart.figure.asset, ())}
    wanted = chart.figure.channel
    if chart.figure.asset not in assets:
        guess = nearest(chart.figure.asset, assets)
        yield (*where, "figure", "asset"), f"the name of an asset; `{chart.figure.asset}` is none", guess
    elif wanted not in channels:
        yield (*where, "figure", "channel"), f"a channel of `{chart.figure.asset}`", nearest(wanted, channels)
    elif channels[wanted].block_samples > 1:
        yield (*where, "figure", "channel"), "a channel of single values: this one comes in blocks of a waveform", None
    if chart.window_ms is not None:
        yield (*where, "window_ms"), "`subgroup` instead: a chart of measurements counts readings", None
    if chart.over != "tumbling":
        yield (*where, "over"), "no `over`: a chart of a channel counts readings, not windows", None
    if chart.by != "station":
        yield (*where, "by"), "no `by`: a chart of measurements is of one channel", None


def _baseline(baseline: AnyBaseline, charts: dict[str, Chart], where: Place) -> Iterator[Finding]:
    chart = charts.get(baseline.chart)
    if chart is None:
        guess = nearest(baseline.chart, charts)
        yield (*where, "chart"), f"the name of a chart; `{baseline.chart}` is none", guess
    elif is_counted(chart) != isinstance(baseline, CountedBaseline):
        yield (*where, "type"), f"`{'counted' if is_counted(chart) else 'measured'}`: chart `{chart.name}` is", None
    elif isinstance(baseline, MeasuredBaseline) and baseline.subgroup != chart.subgroup:
        yield (*where, "subgroup"), f"the subgroup of the chart ({chart.subgroup}): freeze it anew", None
    if not baseline.frozen_by.strip():
        yield (*where, "frozen_by"), "who froze the baseline", None
    if baseline.applies_from_ns < baseline.to_ns:
        yield (*where, "applies_from_ns"), "a moment after the points that it was made from", None
    if isinstance(baseline, MeasuredBaseline) and baseline.sigma <= 0:
        yield (*where, "sigma"), "a number above 0: values that never differ have no limits", None
    if isinstance(baseline, CountedBaseline) and isinstance(chart and chart.figure, NotOk) and baseline.rate > 1:
        yield (*where, "rate"), f"a share of parts from 0 to 1, not {baseline.rate}", None
