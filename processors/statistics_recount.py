"""Windows counted anew from the log, when a verdict comes for one that is not held any more (a review a week later)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from processors.station_pane import StationWindow
from processors.statistics_counts import AnyVerdict
from processors.statistics_panes import Panes
from processors.window_plan import WindowPlan
from processors.windows_bound import require_within
from schemas.statistics import Pane
from schemas.statistics_settings import StatisticsSettings


class Recount:
    """Counts the `wanted` windows from records of one partition, from `from_ns` on, in order."""

    def __init__(
        self,
        *,
        wanted: Iterable[StationWindow],
        settings: StatisticsSettings,
        opportunities: Callable[[str], int],
        limit_bytes: int,
    ) -> None:
        self._wanted = frozenset(wanted)
        self._plan = WindowPlan(settings)
        self._panes = Panes(settings=settings, opportunities=opportunities)
        self._limit_bytes = limit_bytes

    @property
    def from_ns(self) -> int:
        """Records appended before this moment cannot belong to a wanted window."""
        return min(key.window.start_at_ns for key in self._wanted)

    def feed(self, verdict: AnyVerdict, *, offset: int, record_at_ms: int) -> None:
        """Takes the next record of the partition; those of other windows only move the watermark. Raises ConfigurationError where the
        parts take more than `limit_bytes`."""
        require_within([self._panes], limit_bytes=self._limit_bytes)
        windows = self._plan.containing(verdict.arrived_at_ns)
        if any(StationWindow(verdict.station, window) in self._wanted for window in windows):
            self._panes.feed(verdict, offset=offset, record_at_ms=record_at_ms)
        else:
            self._panes.pass_by(verdict, record_at_ms=record_at_ms)

    def panes(self) -> list[Pane]:
        """The wanted windows, with every level, as they are by the records fed so far: a review may move a part to another level. They are
        complete, or they would be held; of what was read here alone nobody could tell, where it begins with a review."""
        return self._panes.closed_panes(self._wanted)
