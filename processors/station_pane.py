"""A window of a station with its sums: what `statistics_panes` holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from processors.statistics_counts import Share, Sums
from processors.window_values import Order, WindowValues
from processors.windows import Window
from schemas.statistics import PaneCounts


class StationWindow(NamedTuple):
    """A window of a station: of all its parts, or of those of one `level` of `by`."""

    station: str
    window: Window
    by: str = ""
    level: str = ""


@dataclass(slots=True)
class StationPane:
    """The sums of a window as they are now, and how they came about."""

    key: StationWindow
    line: str
    late_from_ns: int  # a watermark that has come so far makes what comes now late
    values: WindowValues | None  # where a chart of measurements has a point for it
    sums: Sums = field(default_factory=Sums)
    changed_by: int = -1
    late_parts: int = 0
    previous: PaneCounts | None = None
    closed: bool = False
    changed: bool = False
    told_at_ns: int = 0

    def counts(self) -> PaneCounts:
        """The sums, and the values that stand for the window."""
        counts = self.sums.counts()
        return counts if self.values is None else msgspec.structs.replace(counts, measured=self.values.first())

    def add(self, order: Order, share: Share) -> None:
        """Counts a part in."""
        self.sums.add(share.counts)
        if self.values is not None:
            self.values.add(order, share.values)

    def take(self, order: Order, share: Share) -> None:
        """Counts a part out again."""
        self.sums.take(share.counts)
        if self.values is not None:
            self.values.take(order)
