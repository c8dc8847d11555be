"""What a chart plots for its newest sample, and whether that signals: limits, run rules, EWMA, CUSUM (`processors.spc`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from processors.chart_baselines import attribute_chart, count_limits
from processors.spc.attribute_charts import AttributeLimits
from processors.spc.cusum import Cusum
from processors.spc.ewma import Ewma
from processors.spc.run_rules import LONGEST_WINDOW, NELSON, WESTERN_ELECTRIC, Place, RunRule, RunRules
from schemas.chart_settings import AnyBaseline, Chart, CountedBaseline, MeasuredBaseline, Span, is_counted
from schemas.charts import ChartPoint, CusumSums, SpreadPoint

RULE_SETS = {"western_electric": WESTERN_ELECTRIC, "nelson": NELSON}


class Sample(NamedTuple):
    """`counted` bad parts or defects among `size` parts of a window, or the `values` of a subgroup (`size`: how many).

    A window of a chart of measurements may hold fewer values than a subgroup has. `previous` is the plotted value before a correction."""

    start_at_ns: int
    end_at_ns: int
    revision: int
    counted: int = 0
    size: int = 0
    values: tuple[float, ...] = ()
    previous: float | None = None

    @staticmethod
    def of(point: ChartPoint) -> Sample:
        """The sample that a point was made of. Its revision may be that of an earlier one: what both follow from is no newer."""
        return Sample(
            point.start_at_ns, point.end_at_ns, point.revision, point.count, point.size, point.values, point.previous
        )


class Plotted(NamedTuple):
    """A point without its place: see `schemas.charts.ChartPoint`."""

    value: float | None = None
    centre: float | None = None
    lower: float | None = None
    upper: float | None = None
    outside: bool = False
    rules: tuple[str, ...] = ()
    spread: SpreadPoint | None = None
    sums: CusumSums | None = None
    expected_count: float | None = None


def chosen_rules(chart: Chart) -> tuple[RunRule, ...]:
    """The run rules of a chart, sets written out, each once."""
    named = [rule for name in chart.rules for rule in RULE_SETS.get(name) or (RunRule(name),)]
    return tuple(dict.fromkeys(named))


def plot(chart: Chart, baseline: AnyBaseline | None, samples: Sequence[Sample]) -> Plotted:
    """The point of the last sample, oldest first, by all of them. Samples without parts, or with too few values, are passed over."""
    if not is_complete(chart, samples[-1]):
        return Plotted()
    looked_at = [sample for sample in samples if is_complete(chart, sample)]
    if is_counted(chart):
        assert baseline is None or isinstance(baseline, CountedBaseline), "checked with the plant file"
        return _counted(chart, baseline, looked_at)
    assert baseline is None or isinstance(baseline, MeasuredBaseline), "checked with the plant file"
    return _measured(chart, baseline, looked_at)


def is_complete(chart: Chart, sample: Sample) -> bool:
    """Whether there is something to plot: a part that was counted, or every value of the subgroup."""
    return sample.size > 0 if is_counted(chart) else len(sample.values) == chart.subgroup


def plotted_mean(chart: Chart, values: Sequence[float]) -> float | None:
    """What a chart of measurements plots of a subgroup; None for an EWMA or CUSUM, and for too few values."""
    if len(values) != chart.subgroup or chart.chart in ("ewma", "cusum"):
        return None
    return float(np.mean(values))


def plotted_value(chart: Chart, *, count: int, size: int) -> float | None:
    """What a chart of counts plots of a window; None for an EWMA or CUSUM, and where nothing was looked at."""
    if size == 0 or chart.chart in ("ewma", "cusum"):
        return None
    return float(count) if attribute_chart(chart).plots_counts else count / size


def _counted(chart: Chart, baseline: CountedBaseline | None, samples: Sequence[Sample]) -> Plotted:
    newest = samples[-1]
    if baseline is None:
        plain = float(newest.counted) if attribute_chart(chart).plots_counts else newest.counted / newest.size
        return Plotted(value=plain)
    limits = count_limits(chart, baseline)
    if chart.chart in ("ewma", "cusum"):
        look = _ewma if chart.chart == "ewma" else _cusum
        plotted = look(chart, 0.0, 1.0, [_standardised(limits, sample) for sample in samples])
        return plotted._replace(expected_count=baseline.rate * newest.size)
    point = limits.point(count=newest.counted, size=newest.size)
    assert point is not None, "samples without parts were passed over"
    return Plotted(
        value=point.value,
        centre=point.centre,
        lower=point.lower,
        upper=point.upper,
        outside=point.outside,
        rules=_rules(chart, [_place(limits, s.counted, s.size) for s in samples[-LONGEST_WINDOW:]])
        if chart.rules
        else (),
    )


def _measured(chart: Chart, baseline: MeasuredBaseline | None, samples: Sequence[Sample]) -> Plotted:
    newest = samples[-1]
    mean = float(np.mean(newest.values))
    width = _width(chart, samples)
    if baseline is None:
        return Plotted(value=mean, spread=None if width is None else SpreadPoint(value=width))
    centre, sigma = baseline.location.centre, baseline.sigma / baseline.subgroup**0.5
    if chart.chart == "ewma":
        return _ewma(chart, centre, sigma, [float(np.mean(sample.values)) for sample in samples])
    if chart.chart == "cusum":
        return _cusum(chart, centre, sigma, [float(np.mean(sample.values)) for sample in samples])
    location = baseline.location
    places = [_measured_place(location, sigma, s.values) for s in samples[-LONGEST_WINDOW:]] if sigma > 0 else []
    return Plotted(
        value=mean,
        centre=location.centre,
        lower=location.lower,
        upper=location.upper,
        outside=not location.lower <= mean <= location.upper,
        rules=_rules(chart, places),
        spread=None if width is None else _spread(width, baseline.spread),
    )


def _width(chart: Chart, samples: Sequence[Sample]) -> float | None:
    """Range, deviation or moving range of the newest sample; None for the first of single values, and where none is drawn."""
    values = samples[-1].values
    match chart.chart:
        case "xbar_r":
            return float(np.ptp(values))
        case "xbar_s":
            return float(np.std(values, ddof=1))
        case "i_mr" if len(samples) > 1:
            return abs(values[0] - samples[-2].values[0])
    return None


def _spread(width: float, limits: Span) -> SpreadPoint:
    return SpreadPoint(
        value=width,
        centre=limits.centre,
        lower=limits.lower,
        upper=limits.upper,
        outside=not limits.lower <= width <= limits.upper,
    )


def _ewma(chart: Chart, target: float, sigma: float, values: Sequence[float]) -> Plotted:
    ewma = Ewma(target=target, sigma=sigma, weight=chart.weight, width=chart.width_sigma)
    *_, point = [ewma.add(value) for value in values]
    return Plotted(point.value, point.centre, point.lower, point.upper, point.outside)


def _cusum(chart: Chart, target: float, sigma: float, values: Sequence[float]) -> Plotted:
    cusum = Cusum(target=target, sigma=sigma, reference=chart.reference_sigma, interval=chart.interval_sigma)
    *_, point = [cusum.add(value) for value in values]
    return Plotted(
        value=max(point.upper, point.lower),
        centre=0.0,
        lower=0.0,
        upper=chart.interval_sigma * sigma,
        outside=point.outside,
        sums=CusumSums(
            upper=point.upper, lower=point.lower, upper_since=point.upper_since, lower_since=point.lower_since
        ),
    )


def _measured_place(location: Span, sigma: float, values: Sequence[float]) -> Place:
    mean = float(np.mean(values))
    score = (mean - location.centre) / sigma
    return Place(score, abs(score), not location.lower <= mean <= location.upper)


def _rules(chart: Chart, places: Sequence[Place]) -> tuple[str, ...]:
    if not places:
        return ()
    rules = RunRules(chosen_rules(chart))
    *_, met = [rules.add(place) for place in places]
    return tuple(rule.value for rule in met)


def _standardised(limits: AttributeLimits, sample: Sample) -> float:
    """(rate - centre) / (sigma sigma_z); 0 where the baseline has no spread."""
    spread = limits.sigma(sample.size) * (limits.sigma_z or 1.0)
    return (sample.counted / sample.size - limits.rate) / spread if spread > 0 else 0.0


@lru_cache(maxsize=8192)
def _place(limits: AttributeLimits, count: int, size: int) -> Place:
    return limits.place(count=count, size=size)
