"""Charts of measurements over sensor readings: a point for every `subgroup` readings of a session that follow each other.

Readings are numbered: a subgroup is the numbers n k to n k + n - 1, whatever came twice or late. One that lacks a reading, or holds
what is no number, is never complete and makes no point: `incomplete` counts them. A restart reads readings back from the topic and
has the same points again.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field

from processors.chart_points import Sample
from processors.chart_series import Series, Subject, held_ns
from schemas.chart_settings import Chart, Measurement
from schemas.charts import ChartPoint
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.sensors import SensorReading

OPEN_SUBGROUPS = 4
"""The newest of a chart, kept whether complete or not: readings of two sessions may come mixed, when a gateway that was away sends
what it kept, and twice."""


@dataclass(slots=True)
class _Open:
    """A subgroup of which readings are awaited: by sequence number, value and moment."""

    values: dict[int, tuple[float, int]] = field(default_factory=dict)
    newest_offset: int = -1


class _Measured:
    """One chart."""

    def __init__(self, chart: Chart, *, plant: Plant, whole_from_ns: int) -> None:
        figure = chart.figure
        assert isinstance(figure, Measurement)
        self.size = chart.subgroup
        self.place = figure.asset, figure.channel
        asset = next(asset for asset in plant.assets if asset.name == figure.asset)
        self.open: OrderedDict[tuple[str, int], _Open] = OrderedDict()
        self.began = False
        self.series = Series(
            chart=chart,
            subject=Subject(f"asset/{figure.asset}/{figure.channel}", asset.line),
            length_ns=subgroup_ms(chart, plant) * NS_PER_MS,
            baselines=plant.statistics.baselines,
            whole_from_ns=whole_from_ns,
        )


def subgroup_ms(chart: Chart, plant: Plant) -> int:
    """How long the readings of a subgroup take, in ms."""
    figure = chart.figure
    assert isinstance(figure, Measurement)
    channels = next(asset.channels for asset in plant.assets if asset.name == figure.asset)
    return chart.subgroup * next(channel.sample_ms for channel in channels if channel.name == figure.channel)


def held_ms(plant: Plant) -> int:
    """How far back readings are needed, in ms; 0 without charts of measurements."""
    charts = [chart for chart in plant.statistics.charts if isinstance(chart.figure, Measurement)]
    longest_ms = max((subgroup_ms(chart, plant) for chart in charts), default=0)
    return held_ns(longest_ms * NS_PER_MS) // NS_PER_MS


class MeasuredCharts:
    """The charts of measurements of the readings of some partitions."""

    def __init__(self, *, plant: Plant, whole_from_ns: int = 0) -> None:
        """Readings whose records are from `whole_from_ns` on (the broker's time) will be recalled without a gap, in the log's order.

        A sensor's clock may be behind, and a gateway's disk may have held its readings: then they are whole from the first one on.
        """
        charts = [chart for chart in plant.statistics.charts if isinstance(chart.figure, Measurement)]
        self._charts = [_Measured(chart, plant=plant, whole_from_ns=whole_from_ns) for chart in charts]
        self.incomplete = 0

    def take(self, reading: SensorReading, *, offset: int) -> list[ChartPoint]:
        """A reading that was not refused; gives the points that it completes, and those that follow from them anew."""
        points: list[ChartPoint] = []
        for chart in self._charts:
            value = reading.value
            if chart.place != (reading.asset, reading.channel) or value is None or not math.isfinite(value):
                continue
            self._put(chart, reading, value, offset)
            points += chart.series.due()
        return points

    def _put(self, chart: _Measured, reading: SensorReading, value: float, offset: int) -> None:
        if not chart.began:
            chart.began = True
            chart.series.whole_from(reading.measured_at_ns)
        key = reading.session, reading.sequence // chart.size
        found = chart.open.setdefault(key, _Open())
        if len(found.values) == chart.size:
            return  # it is complete: this one came twice
        found.values.setdefault(reading.sequence, (value, reading.measured_at_ns))
        found.newest_offset = max(found.newest_offset, offset)
        if len(found.values) == chart.size:
            chart.series.put(_sample(found))
        while len(chart.open) > OPEN_SUBGROUPS:
            _, left = chart.open.popitem(last=False)
            self.incomplete += len(left.values) < chart.size


def _sample(subgroup: _Open) -> Sample:
    readings = [subgroup.values[sequence] for sequence in sorted(subgroup.values)]
    moments = [at_ns for _, at_ns in readings]
    return Sample(
        start_at_ns=min(moments),
        end_at_ns=max(moments),
        revision=subgroup.newest_offset + 1,
        size=len(readings),
        values=tuple(value for value, _ in readings),
    )
