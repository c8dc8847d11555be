"""What a plant file may say about control charts: what is charted, on which chart, against which frozen baseline.

docs/statistics.md explains each chart, what its run rules cost, and how a baseline is frozen (`linesight baselines freeze`).
"""

from __future__ import annotations

from typing import Literal

from msgspec import field

from schemas.section import Section
from schemas.specification import Specification
from schemas.statistics_names import RunRuleName

ChartKind = Literal[
    "p", "np", "u", "c", "p_laney", "u_laney", "i_mr", "xbar_r", "xbar_s", "ewma", "cusum"
]  # fmt: skip
PART_KINDS = ("p", "np", "p_laney", "ewma", "cusum")
"""Charts of parts that are good or bad."""
DEFECT_KINDS = ("u", "c", "u_laney", "ewma", "cusum")
"""Charts of defects."""
MEASUREMENT_KINDS = ("i_mr", "xbar_r", "xbar_s", "ewma", "cusum")
"""Charts of measurements."""
WITHOUT_RULES = ("ewma", "cusum")
"""Their points follow from each other: run rules, which are for independent ones, say nothing about them."""

RuleName = Literal[RunRuleName, "western_electric", "nelson"]

WindowKind = Literal["tumbling", "sliding", "shift"]

FindingMeasure = Literal["area_px", "width_px", "height_px", "centre_x_px", "centre_y_px", "score"]
ViewMeasure = Literal["anomaly_score", "sharpness_ratio", "level_ratio", "saturated_ratio", "black_ratio", "shift_px"]
"""Of a view that was inspected, whether something was found on it or not (`Inspection.anomaly_score`, `Inspection.imaging`)."""
Measure = Literal[FindingMeasure, ViewMeasure]
FINDING_MEASURES: tuple[FindingMeasure, ...] = (
    "area_px", "width_px", "height_px", "centre_x_px", "centre_y_px", "score",
)  # fmt: skip
"""Of the largest finding of a part. Width, height and centre are those of its box."""


class NotOk(Section, tag_field="type", tag="not_ok", frozen=True, kw_only=True):
    """Parts NOT_OK among the decided ones."""


class Defects(Section, tag_field="type", tag="defects", frozen=True, kw_only=True):
    """Defects of all parts, of one `class` where it is given."""

    class_name: str | None = field(name="class", default=None)


class Measurement(Section, tag_field="type", tag="measurement", frozen=True, kw_only=True):
    """The readings of one channel of an asset, in its unit."""

    asset: str
    channel: str


class PictureMeasurement(Section, tag_field="type", tag="picture", frozen=True, kw_only=True):
    """What inspections measured, one value for each part. Of its largest finding (by `area_px`), of one `class` where it is given, on
    one `view` where it is given: `area_px`, `width_px`, `height_px`, `centre_x_px`, `centre_y_px` (of its box, in px of the frame) or
    `score`; a part without such a finding has none. Of one `view`, found or not: `anomaly_score`, `sharpness_ratio`, `level_ratio`,
    `saturated_ratio`, `black_ratio` or `shift_px`. With a `specification` the report says the capability.
    """

    measure: Measure
    class_name: str | None = field(name="class", default=None)
    view: str | None = None
    specification: Specification | None = None


class Chart(Section, frozen=True, kw_only=True):
    """A control chart.

    Counts have a point for each window of `window_ms` (one of `windows_ms`), `by` station, by line, or for each level of one of
    `statistics.by`. `over: sliding` takes the sliding windows of length `window_ms`, `over: shift` one point a shift, without a
    `window_ms`. Windows that overlap share parts: run rules, an EWMA, a CUSUM and moving ranges look only at windows that do not.
    Readings (`measurement`) have a point for every `subgroup` readings that follow each other; measurements from pictures (`picture`)
    one for each window, of the first `subgroup` parts that have a value. `rules` are run rules, `western_electric` and `nelson` stand
    for theirs; a point beyond a limit is a signal always. `weight` and `width_sigma` are an EWMA's, `reference_sigma` and
    `interval_sigma` a CUSUM's, `confidence` that of the exact limits of counts, and of the limits of a measurement and its spread
    together; 0.9973 stands for the textbook's three standard deviations. Without a frozen baseline a chart is in phase I: points, no
    limits.

    By default a chart is wrong less than once in 720 points, a month of hours (docs/statistics.md).
    """

    name: str
    figure: NotOk | Defects | Measurement | PictureMeasurement
    chart: ChartKind
    over: WindowKind = "tumbling"
    window_ms: int | None = None
    by: str = "station"
    subgroup: int = 1
    rules: tuple[RuleName, ...] = ()
    confidence: float = 0.999
    weight: float = 0.2
    width_sigma: float = 3.3
    reference_sigma: float = 0.5
    interval_sigma: float = 6.0


class LeftOut(Section, frozen=True, kw_only=True):
    """A phase I point that was left out of a baseline, and the assignable cause that somebody named for it."""

    start_at_ns: int
    cause: str


class Span(Section, frozen=True, kw_only=True):
    """Centre and limits in the unit of what is plotted; on a limit is inside."""

    centre: float
    lower: float
    upper: float


class Baseline(Section, frozen=True, kw_only=True):
    """A frozen baseline: what phase I found and a person signed. Nothing changes one; a later record of the same chart and subject
    replaces it for points from its `applies_from_ns` on.

    `settings` is the chart as it stood in the plant file: its limits are those, whatever the plant file says later.
    `subject` is whose points they are (`station/aoi-1`). `points` were used, from `from_ns` to `to_ns` (begin of the last), read from
    `data`. Times are ns since the epoch, UTC.
    """

    chart: str
    settings: Chart
    subject: str
    points: int
    from_ns: int
    to_ns: int
    data: str
    frozen_by: str
    frozen_at_ns: int
    applies_from_ns: int
    excluded: tuple[LeftOut, ...] = ()


class CountedBaseline(Baseline, tag_field="type", tag="counted", frozen=True, kw_only=True):
    """Of counts: `rate` is bad parts per part or defects per part; `sigma_z` is Laney's factor, null for exact limits.

    `p_value` is of the test for overdispersion, `outside_exact` how many of the points lie outside exact limits all the same.
    """

    rate: float
    counted: int
    looked_at: float
    outside_exact: int = 0
    p_value: float | None = None
    sigma_z: float | None = None


class MeasuredBaseline(Baseline, tag_field="type", tag="measured", frozen=True, kw_only=True):
    """Of measurements, in their unit: limits of the means and of the ranges or deviations beside them; `sigma` within subgroups.

    `outside` is how many of the points lie beyond one of these limits all the same.
    """

    location: Span
    spread: Span
    sigma: float
    subgroup: int
    outside: int = 0


AnyBaseline = CountedBaseline | MeasuredBaseline


def is_counted(chart: Chart) -> bool:
    """Whether the chart is one of counts; else it is one of measurements."""
    return isinstance(chart.figure, NotOk | Defects)


def is_windowed(chart: Chart) -> bool:
    """Whether the chart has a point for each window; else it is made from readings."""
    return not isinstance(chart.figure, Measurement)
