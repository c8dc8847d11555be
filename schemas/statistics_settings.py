"""What a plant file may say about its statistics: windows, shifts, what parts are told apart by, and the control chart."""

from __future__ import annotations

from typing import Literal

from schemas.chart_settings import AnyBaseline, Chart
from schemas.section import Section
from schemas.statistics_names import RunRuleName


class PChart(Section, frozen=True, kw_only=True):
    """Baseline and confidence of the p-chart; limits are exact binomial.

    `frozen_by` and `frozen_on` say who froze the baseline (phase II), and when; without them it counts as provisional (phase I).
    `run_rules` are marked in reports, beside points outside the limits.
    """

    baseline_ratio: float = 0.05
    confidence: float = 0.9973
    frozen_by: str = ""
    frozen_on: str = ""
    run_rules: tuple[RunRuleName, ...] = ()


class SlidingWindow(Section, frozen=True, kw_only=True):
    """A window of `length_ms` that begins anew every `every_ms`; `length_ms` is a multiple of it."""

    length_ms: int
    every_ms: int


Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class Shift(Section, frozen=True, kw_only=True):
    """A shift by the clock on the wall, `"HH:MM"` in the plant's `time_zone`. One that ends at or before its beginning ends the next
    day. `days` are those on which it begins; none: every day. When clocks change, the shift is an hour longer or shorter."""

    name: str
    begins: str
    ends: str
    days: tuple[Day, ...] = ()


class PlannedStop(Shift, frozen=True, kw_only=True):
    """A time in which the line is not meant to run (a break, maintenance), told like a shift: who stands then is not less available."""


class AssociationWindow(Section, frozen=True, kw_only=True):
    """Windows over which causes are compared: those of `window_ms` (one of `windows_ms`), or every shift (`over: shift`)."""

    over: Literal["tumbling", "shift"] = "tumbling"
    window_ms: int | None = None


class StatisticsSettings(Section, frozen=True, kw_only=True):
    """Event-time windows: lengths, grace after the watermark, and when an idle partition stops holding it back.

    `shifts` are windows too, in `time_zone` (a name of the IANA database such as Europe/Berlin). `by` adds the figures of the parts
    apart by `recipe`, `camera`, `batch`, `shift`, or a label that a PLC gives its parts (`plcs`, `labels`).

    `planned_stops`, and the time outside `shifts` where there are some, are no planned time in OEE as far as the line does not run.

    `charts` are control charts; their frozen `baselines` stand in `baseline_files`, relative to the plant file, which
    `linesight baselines freeze` writes.

    `associations` says over which windows the levels of `by` are compared with each other, each when it is complete (topic `associations`).
    """

    windows_ms: tuple[int, ...] = (60_000, 3_600_000)
    sliding: tuple[SlidingWindow, ...] = ()
    shifts: tuple[Shift, ...] = ()
    planned_stops: tuple[PlannedStop, ...] = ()
    time_zone: str = "UTC"
    by: tuple[str, ...] = ()
    grace_ms: int = 5_000
    idle_timeout_ms: int = 10_000
    p_chart: PChart = PChart()
    charts: tuple[Chart, ...] = ()
    baselines: tuple[AnyBaseline, ...] = ()
    baseline_files: tuple[str, ...] = ()
    associations: tuple[AssociationWindow, ...] = ()
