"""History counted again into revisions: the closed windows of a period, from the verdicts of one partition.

For figures that the plant file did not ask for at the time (a new `by`, another window, opportunities of a recipe), and for proof. A pane
of a replay carries the revision after every record that the partition holds now: above each one told before, below the next one of the
live stage, which goes on undisturbed.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from processors.station_pane import StationWindow
from processors.statistics_panes import Panes
from processors.windows import Window
from processors.windows_bound import require_within
from schemas.statistics import Pane
from schemas.statistics_settings import StatisticsSettings
from schemas.verdicts import Verdict


def window_of(pane: Pane) -> StationWindow:
    """The station's window, and level, that a pane is of."""
    window = Window(pane.start_at_ns, pane.window_ms, pane.kind, pane.shift)
    return StationWindow(pane.station, window, pane.by, pane.level)


class StatisticsReplay:
    """Counts windows that lie in `[from_ns, to_ns)` whole. Feed it the partition from `from_ns` on, in order."""

    def __init__(
        self,
        *,
        settings: StatisticsSettings,
        opportunities: Callable[[str], int],
        from_ns: int,
        to_ns: int,
        limit_bytes: int,
    ) -> None:
        self.panes = Panes(settings=settings, opportunities=opportunities, complete_from_ns=from_ns)
        self._from_ns = from_ns
        self._to_ns = to_ns
        self._limit_bytes = limit_bytes
        self._told: dict[StationWindow, Pane] = {}

    def feed(self, verdict: Verdict, *, offset: int, record_at_ms: int) -> None:
        """Takes the next verdict; one of a part outside the period only moves the watermark. Raises ConfigurationError where the parts take
        more than `limit_bytes`: nothing is told of a period that was counted in part."""
        require_within([self.panes], limit_bytes=self._limit_bytes)
        if self._from_ns <= verdict.arrived_at_ns < self._to_ns:
            self.panes.feed(verdict, offset=offset, record_at_ms=record_at_ms)
        else:
            self.panes.pass_by(verdict, record_at_ms=record_at_ms)

    def clock_at(self, now_ns: int) -> None:
        """Time passes: windows of a partition that fell idle close."""
        self.panes.clock_at(now_ns)

    def told_before(self, pane: Pane) -> None:
        """Takes a pane that stands on the topic, in any order: what it says already need not be said again."""
        key = window_of(pane)
        if key not in self._told or pane.revision > self._told[key].revision:
            self._told[key] = pane

    def corrections(self, *, end_offset: int) -> list[Pane]:
        """The closed windows whose newest pane says something else, or that have none; `end_offset` is the partition's end."""
        revision = 2 * end_offset + 1
        return [
            msgspec.structs.replace(
                pane, revision=revision, id=f"{key.window.told(key.station, by=key.by, level=key.level)}/{revision}"
            )
            for key, pane in ((window_of(pane), pane) for pane in self.panes.held())
            if pane.closed and key.window.end_at_ns <= self._to_ns and self._is_news(key, pane, revision)
        ]

    def _is_news(self, key: StationWindow, pane: Pane, revision: int) -> bool:
        known = self._told.get(key)
        return known is None or (known.counts != pane.counts and known.revision < revision)
