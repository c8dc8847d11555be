"""What a plant file may say about its statistics: windows, shifts, what parts are told apart by, and the control chart."""

from __future__ import annotations

from typing import Literal

from schemas.section import Section

RunRuleName = Literal[
    "beyond_3_sigma",
    "two_of_three_beyond_2_sigma",
    "four_of_five_beyond_1_sigma",
    "eight_on_one_side",
    "nine_on_one_side",
    "six_rising_or_falling",
    "fourteen_alternating",
    "fifteen_within_1_sigma",
    "eight_beyond_1_sigma_both_sides",
]
"""What each costs in false alarms is in docs/statistics.md."""


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


class StatisticsSettings(Section, frozen=True, kw_only=True):
    """Event-time windows: lengths, grace after the watermark, and when an idle partition stops holding it back.

    `shifts` are windows too, in `time_zone` (a name of the IANA database such as Europe/Berlin). `by` adds the figures of the parts
    apart by `recipe`, `camera`, `batch`, or a label that a PLC gives its parts (`plcs`, `labels`).
    """

    windows_ms: tuple[int, ...] = (60_000, 3_600_000)
    sliding: tuple[SlidingWindow, ...] = ()
    shifts: tuple[Shift, ...] = ()
    time_zone: str = "UTC"
    by: tuple[str, ...] = ()
    grace_ms: int = 5_000
    idle_timeout_ms: int = 10_000
    p_chart: PChart = PChart()
