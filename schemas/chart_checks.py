"""What is wrong with the control charts of a plant file, and with the frozen baselines that they are held against."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.chart_settings import (
    DEFECT_KINDS,
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
    is_counted,
)
from schemas.plant import Plant
from schemas.plant_shape import nearest
from schemas.plant_yaml import Finding, Place

KINDS = {NotOk: PART_KINDS, Defects: DEFECT_KINDS, Measurement: MEASUREMENT_KINDS}


def chart_findings(plant: Plant) -> Iterator[Finding]:
    """Everything in `statistics.charts` and `statistics.baselines` that cannot work."""
    charts: dict[str, Chart] = {}
    for index, chart in enumerate(plant.statistics.charts):
        where: Place = ("statistics", "charts", index)
        if chart.name in charts:
            yield (*where, "name"), f"a name of its own; `{chart.name}` stands twice", None
        charts[chart.name] = chart
        yield from _chart(chart, where)
        yield from _counted(chart, plant, where) if is_counted(chart) else _measured(chart, plant, where)
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


def _counted(chart: Chart, plant: Plant, where: Place) -> Iterator[Finding]:
    lengths = plant.statistics.windows_ms
    known = ", ".join(str(length) for length in lengths)
    if chart.window_ms is None:
        yield where, f"the key `window_ms`: one of `windows_ms` ({known})", None
    elif chart.window_ms not in lengths:
        yield (*where, "window_ms"), f"one of `windows_ms` ({known}), not {chart.window_ms}", None
    levels = ["station", "line", *plant.statistics.by]
    if chart.by not in levels:
        listed = ", ".join(f"`{level}`" for level in levels)
        yield (*where, "by"), f"one of {listed} (see `statistics.by`); `{chart.by}` is none", nearest(chart.by, levels)
    if chart.subgroup != 1:
        yield (*where, "subgroup"), "no subgroup: a window is the sample of a chart of counts", None
    wanted = chart.figure.class_name if isinstance(chart.figure, Defects) else None
    classes = sorted({each.name for recipe in plant.recipes for each in recipe.classes})
    if wanted is not None and wanted not in classes:
        yield (
            (*where, "figure", "class"),
            f"a class of some recipe; `{wanted}` is none",
            nearest(wanted, classes),
        )


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
    if chart.by != "station":
        yield (*where, "by"), "no `by`: a chart of measurements is of one channel", None
    if chart.chart == "i_mr" and chart.subgroup != 1:
        yield (*where, "subgroup"), f"1 for single values, or `xbar_s`; not {chart.subgroup}", None
    if chart.chart in ("xbar_r", "xbar_s") and chart.subgroup < 2:
        yield where, "the key `subgroup`: 2 readings or more, of which the spread is taken", None


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
