"""The figures of stations and lines over each window, from the panes of one partition.

A pane replaces an earlier one of its station and window; a line's sums are those of its stations' newest panes. A station's
figures carry the revision of its pane, a line's the offset after the last pane that changed it: the same revision always has
the same content. Windows that are not held any more are named by `missing` and put together anew from the log by the caller.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from processors.quality.pane_figures import control_point, dpmo, first_pass_yield_ratio, not_ok_ratio
from processors.statistics_counts import added
from processors.statistics_panes import held_ns
from processors.windows import Window
from schemas.statistics import Pane, PaneCounts, WindowStatistics
from schemas.statistics_settings import PChart, StatisticsSettings


class PlaceWindow(NamedTuple):
    """A window of a line, with all its levels."""

    line: str
    window: Window


class LineWindow(NamedTuple):
    """A window of a line: of all its parts, or of those of one `level` of `by`."""

    line: str
    window: Window
    by: str = ""
    level: str = ""

    @staticmethod
    def of(pane: Pane) -> LineWindow:
        """The line's window that a pane belongs to."""
        window = Window(pane.start_at_ns, pane.window_ms, pane.kind, pane.shift)
        return LineWindow(pane.line, window, pane.by, pane.level)


@dataclass(slots=True)
class _Line:
    panes: dict[str, Pane] = field(default_factory=dict)
    changed_by: int = -1
    corrected: str = ""  # the station whose pane was corrected last


class Figures:
    """The figures of one partition of `panes`. Feed it records in order; ask for what is `due`."""

    def __init__(self, *, settings: StatisticsSettings, complete_from_ns: int = 0) -> None:
        """Panes of windows that begin at `complete_from_ns` or later will be fed without a gap."""
        self._chart = settings.p_chart
        self._held_ns = held_ns(settings)
        self._complete_from_ns = complete_from_ns
        self._newest_end_at_ns = 0
        self._lines: dict[LineWindow, _Line] = {}
        self._changed: dict[LineWindow, set[str]] = {}
        self._missing: set[LineWindow] = set()

    def feed(self, pane: Pane, *, offset: int) -> None:
        """Takes a pane; one that is not newer than the last of its station and window changes nothing."""
        key = LineWindow.of(pane)
        if key.window.start_at_ns < self._complete_from_ns:
            self._missing.add(key)
            return
        line = self._lines.setdefault(key, _Line())
        known = line.panes.get(pane.station)
        if known is not None and pane.revision <= known.revision:
            return
        if pane.late_parts > (known.late_parts if known is not None else 0):
            line.corrected = pane.station
        line.panes[pane.station] = pane
        line.changed_by = offset
        self._changed.setdefault(key, set()).add(pane.station)
        self._newest_end_at_ns = max(self._newest_end_at_ns, key.window.end_at_ns)

    def due(self) -> list[WindowStatistics]:
        """The figures that changed since they were told last, as they are now."""
        told = [figures for key in sorted(self._changed) for figures in self._figures(key, self._changed[key])]
        self._changed.clear()
        self._forget()
        return told

    def take_missing(self) -> set[LineWindow]:
        """Windows of panes that came too late to be held: they have to be put together anew from the log."""
        missing, self._missing = self._missing, set()
        return missing

    def settle(self) -> None:
        """What was fed so far has been told already (it was committed): only what comes now is due."""
        self._changed.clear()
        self._missing.clear()

    def figures(self, keys: Iterable[LineWindow]) -> list[WindowStatistics]:
        """All figures of the given windows by what was fed so far."""
        return [
            figures
            for key in sorted(keys)
            if key in self._lines
            for figures in self._figures(key, set(self._lines[key].panes))
        ]

    def levels(self, wanted: Collection[PlaceWindow]) -> dict[PlaceWindow, list[WindowStatistics]]:
        """The figures of lines over the wanted windows, of all their parts and of every level, as far as they are held."""
        found: dict[PlaceWindow, list[WindowStatistics]] = {}
        for key in self._lines:
            place = PlaceWindow(key.line, key.window)
            if place in wanted:
                found.setdefault(place, []).extend(self._figures(key, set()))
        return found

    @property
    def complete_from_ns(self) -> int:
        """Windows that begin at this moment or later are held."""
        return self._complete_from_ns

    def windows(self) -> set[PlaceWindow]:
        """Every window of a line that is held."""
        return {PlaceWindow(key.line, key.window) for key in self._lines}

    def _figures(self, key: LineWindow, stations: set[str]) -> Iterator[WindowStatistics]:
        line = self._lines[key]
        for pane in (line.panes[station] for station in sorted(stations)):
            yield _statistics(
                scope="station",
                name=pane.station,
                key=key,
                revision=pane.revision,
                counts=pane.counts,
                previous=pane.previous,
                closed=pane.closed,
                late_parts=pane.late_parts,
                chart=self._chart,
            )
        yield _statistics(
            scope="line",
            name=key.line,
            key=key,
            revision=line.changed_by + 1,
            counts=added([pane.counts for pane in line.panes.values()]),
            previous=_previous(line),
            closed=all(pane.closed for pane in line.panes.values()),
            late_parts=sum(pane.late_parts for pane in line.panes.values()),
            chart=self._chart,
        )

    def _forget(self) -> None:
        horizon_ns = self._newest_end_at_ns - self._held_ns
        if horizon_ns - self._complete_from_ns < self._held_ns // 4:
            return  # forgetting scans everything held: do it now and then
        self._complete_from_ns = horizon_ns
        self._lines = {key: line for key, line in self._lines.items() if key.window.start_at_ns >= horizon_ns}


def _previous(line: _Line) -> PaneCounts | None:
    """The line's sums before the last correction of one of its stations."""
    if not line.corrected:
        return None
    return added(
        [
            pane.previous if station == line.corrected and pane.previous is not None else pane.counts
            for station, pane in line.panes.items()
        ]
    )


def _statistics(
    *,
    scope: str,
    name: str,
    key: LineWindow,
    revision: int,
    counts: PaneCounts,
    previous: PaneCounts | None,
    closed: bool,
    late_parts: int,
    chart: PChart,
) -> WindowStatistics:
    window = key.window
    return WindowStatistics(
        id=f"{scope}/{window.told(name, by=key.by, level=key.level)}/{revision}",
        scope=scope,
        name=name,
        line=key.line,
        window_ms=window.length_ms,
        start_at_ns=window.start_at_ns,
        revision=revision,
        counts=counts,
        closed=closed,
        first_pass_yield_ratio=first_pass_yield_ratio(counts),
        not_ok_ratio=not_ok_ratio(counts),
        dpmo=dpmo(counts),
        p_chart=control_point(counts, chart),
        late_parts=late_parts,
        kind=window.kind,
        shift=window.shift,
        by=key.by,
        level=key.level,
        previous=previous,
    )
