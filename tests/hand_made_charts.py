"""Charts of the plant file as tests make them by hand: series of counts, readings of a channel, records that somebody froze."""

from __future__ import annotations

from processors.chart_points import Sample
from processors.chart_series import Series, Subject
from processors.measured_charts import MeasuredCharts
from schemas.chart_settings import (
    AnyBaseline,
    Chart,
    CountedBaseline,
    Measurement,
    NotOk,
)
from schemas.charts import ChartPoint
from schemas.plant import Asset, Channel, Line, Plant
from schemas.sensors import SensorReading
from schemas.statistics_settings import StatisticsSettings

S = 1_000_000_000
MINUTE = 60 * S
SHARE = Chart(name="share", figure=NotOk(), chart="p", window_ms=60_000)
SUBJECT = Subject("station/aoi-1", "line-1")

# NIST/SEMATECH e-Handbook 6.3.2.2: flow rates; centre 50.81, limits 45.8159 and 55.8041 by the moving range.
FLOW = (49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1)


def series(chart: Chart, *baselines: AnyBaseline) -> Series:
    return Series(chart=chart, subject=SUBJECT, length_ns=MINUTE, baselines=baselines)


def sample(minute: int, counted: int, size: int = 50, revision: int = 0) -> Sample:
    return Sample(minute * MINUTE, (minute + 1) * MINUTE, revision or minute + 1, counted, size)


def baseline(
    chart: Chart = SHARE, *, from_minute: int = 0, rate: float = 0.1, sigma_z: float | None = None
) -> CountedBaseline:
    return CountedBaseline(
        chart=chart.name, settings=chart, subject=SUBJECT.name, points=30, from_ns=0, to_ns=0, data="made up", frozen_by="M. Keller",
        frozen_at_ns=from_minute * MINUTE, applies_from_ns=from_minute * MINUTE, rate=rate, counted=150,
        looked_at=1500, sigma_z=sigma_z,
    )  # fmt: skip


def charted(chart: Chart, samples: list[Sample], *baselines: AnyBaseline) -> list[ChartPoint]:
    found = series(chart, *baselines)
    for each in samples:
        found.put(each)
    return found.due()


def measured_plant(*charts: Chart, baselines: tuple[AnyBaseline, ...] = ()) -> Plant:
    channel = Channel(name="flow", unit="l/s", sample_ms=1_000)
    return Plant(
        plant="works",
        lines=(Line(name="line-1", stations=()),),
        recipes=(),
        assets=(Asset(name="pump", line="line-1", channels=(channel,)),),
        statistics=StatisticsSettings(charts=charts, baselines=baselines),
    )


def reading(sequence: int, value: float, *, session: str = "s", at_s: int | None = None) -> SensorReading:
    return SensorReading(
        id=f"pump/flow/{session}/{sequence}", asset="pump", channel="flow", session=session, sequence=sequence,
        measured_at_ns=(sequence if at_s is None else at_s) * S, unit="l/s", value=value,
    )  # fmt: skip


FLOWS = Chart(name="flow", figure=Measurement(asset="pump", channel="flow"), chart="i_mr")


def flows(charts: MeasuredCharts, values: tuple[float, ...], *, first: int = 0) -> list[ChartPoint]:
    found = []
    for number, value in enumerate(values, first):
        found += charts.take(reading(number, value), offset=number)
    return found
