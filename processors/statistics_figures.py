"""The figures of stations and lines over each window, from the panes of one partition.

A pane replaces an earlier one of its station and window; a line's sums are those of its stations' newest panes. A station's figures carry
the revision of its pane, a line's the offset after the last pane that changed it: the same revision always has the same content. Windows
that are not held any more are named by `missing` and put together anew from the log by the caller.

Where something follows from a line's closed window (`silent_stations.awaited_kinds`) it closes when each station of the line has a closed
pane, an empty one perhaps; at the latest two of the longest windows later.

Windows are held behind the newest one with a part. Empty panes of an idle partition follow the clock, and the parts of a backlog lie far
behind it: by the time of empty ones these would be forgotten before anything followed from them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from processors.quality.pane_figures import control_point, dpmo, first_pass_yield_ratio, not_ok_ratio
from processors.quality.yields import rolled_throughput_ratio
from processors.silent_stations import EMPTY_REVISION, awaited_kinds, kind_of
from processors.statistics_counts import added
from processors.statistics_panes import held_ns
from processors.windows import Window
from schemas.statistics import Pane, PaneCounts, WindowStatistics
from schemas.statistics_settings import PChart, StatisticsSettings

NOBODY: Mapping[str, frozenset[str]] = {}
STEPS = 4
"""In how many steps the memory moves on by its own length: going on by one scans everything held."""


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
    waits: bool = False  # for the stations of the line of which there is no pane yet
    corrected: str = ""  # the station whose pane was corrected last


class Figures:
    """The figures of one partition of `panes`. Feed it records in order; ask for what is `due`."""

    def __init__(
        self,
        *,
        settings: StatisticsSettings,
        complete_from_ns: int = 0,
        stations: Mapping[str, frozenset[str]] = NOBODY,
    ) -> None:
        """Panes of windows that begin at `complete_from_ns` or later will be fed without a gap. `stations` are those of each line that are
        waited for; of a line that is not there nobody is."""
        self._stations = stations
        self._awaited = awaited_kinds(settings)
        self._chart = settings.p_chart
        self._held_ns = held_ns(settings)
        self._complete_from_ns = complete_from_ns
        self._newest_end_at_ns = 0  # of all panes: how long stations are waited for
        self._newest_part_end_at_ns = 0  # of those with a part: what is held
        self._waited_until_ns = complete_from_ns
        self._lines: dict[LineWindow, _Line] = {}
        self._changed: dict[LineWindow, set[str]] = {}
        self._missing: set[LineWindow] = set()

    def feed(self, pane: Pane, *, offset: int) -> None:
        """Takes a pane; one that is not newer than the last of its station and window changes nothing."""
        key = LineWindow.of(pane)
        if pane.revision > EMPTY_REVISION:
            self._newest_part_end_at_ns = max(self._newest_part_end_at_ns, key.window.end_at_ns)
        if key.window.start_at_ns < self._complete_from_ns:
            if pane.revision > EMPTY_REVISION:  # nobody waits for a window that is not held
                self._missing.add(key)
            return
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(waits=self._waits(key))
        known = line.panes.get(pane.station)
        if known is not None and pane.revision <= known.revision:
            return
        if pane.late_parts > (known.late_parts if known is not None else 0):
            line.corrected = pane.station
        line.panes[pane.station] = pane
        line.changed_by = offset
        changed = self._changed.setdefault(key, set())
        if pane.revision > EMPTY_REVISION:
            changed.add(pane.station)
        self._newest_end_at_ns = max(self._newest_end_at_ns, key.window.end_at_ns)

    def due(self) -> list[WindowStatistics]:
        """The figures that changed since they were told last, as they are now."""
        self._stop_waiting()
        told = [figures for key in sorted(self._changed) for figures in self._figures(key, self._changed[key])]
        self._changed.clear()
        return told

    def ending(self) -> set[PlaceWindow]:
        """The windows that `forget` drops now: what follows from them has to be worked out before."""
        if not self._forgets():
            return set()
        return {place for place in self.windows() if place.window.start_at_ns < self._horizon_ns()}

    def forget(self) -> None:
        """Drops what lies too far back. Call it after `due`, and when everything was made of `ending` that follows from it."""
        if not self._forgets():
            return
        horizon_ns = self._complete_from_ns = self._horizon_ns()
        self._lines = {key: line for key, line in self._lines.items() if key.window.start_at_ns >= horizon_ns}

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
            for figures in self._figures(key, _counted(self._lines[key]))
        ]

    def levels(self, wanted: Collection[PlaceWindow]) -> dict[PlaceWindow, list[WindowStatistics]]:
        """The figures of lines over the wanted windows, of all their parts and of every level, as far as they are held; none of a window
        in which nobody had a part."""
        found: dict[PlaceWindow, list[WindowStatistics]] = {}
        for key, line in self._lines.items():
            place = PlaceWindow(key.line, key.window)
            if place in wanted and _counted(line):
                found.setdefault(place, []).extend(self._figures(key, set()))
        return found

    @property
    def complete_from_ns(self) -> int:
        """Windows that begin at this moment or later are held."""
        return self._complete_from_ns

    @property
    def reaches_back_to_ns(self) -> int:
        """From when on windows may be held by who has fed the same: a memory that is read back from here on lacks none of them. Below 0
        before the first part."""
        return self._horizon_ns() - 2 * self._held_ns // STEPS

    def windows(self) -> set[PlaceWindow]:
        """Every window of a line that is held."""
        return {PlaceWindow(key.line, key.window) for key in self._lines}

    def _figures(self, key: LineWindow, stations: set[str]) -> Iterator[WindowStatistics]:
        line = self._lines[key]
        if not _counted(line):
            return  # so far nobody had a part
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
                first_pass=first_pass_yield_ratio(pane.counts),
                chart=self._chart,
            )
        yield _statistics(
            scope="line",
            name=key.line,
            key=key,
            revision=line.changed_by + 1,
            counts=added([pane.counts for pane in line.panes.values()]),
            previous=_previous(line),
            closed=self._is_closed(key, line),
            late_parts=sum(pane.late_parts for pane in line.panes.values()),
            first_pass=_rolled(line),
            chart=self._chart,
        )

    def _is_closed(self, key: LineWindow, line: _Line) -> bool:
        if not all(pane.closed for pane in line.panes.values()):
            return False
        return not line.waits or self._stations[key.line] <= line.panes.keys()

    def _waits(self, key: LineWindow) -> bool:
        """Whether a window that is new here waits for the stations of its line."""
        if key.by or kind_of(key.window) not in self._awaited or key.line not in self._stations:
            return False
        return key.window.start_at_ns >= self._waited_until_ns

    def _stop_waiting(self) -> None:
        """What has waited for a station for too long is told closed: a point with what there is, rather than none. If nobody had a part it
        is forgotten."""
        horizon_ns = self._newest_end_at_ns - self._held_ns
        if not self._is_time(horizon_ns, last_ns=self._waited_until_ns) and not self._forgets():
            return
        self._waited_until_ns = max(self._waited_until_ns, horizon_ns)
        for key, line in [*self._lines.items()]:
            if key.window.start_at_ns >= horizon_ns:
                continue
            if not _counted(line):
                del self._lines[key]
                self._changed.pop(key, None)
            elif line.waits and not self._is_closed(key, line):
                line.waits = False
                self._changed.setdefault(key, set())

    def _horizon_ns(self) -> int:
        return self._newest_part_end_at_ns - self._held_ns

    def _forgets(self) -> bool:
        return self._is_time(self._horizon_ns(), last_ns=self._complete_from_ns)

    def _is_time(self, horizon_ns: int, *, last_ns: int) -> bool:
        """Whether a horizon has come far enough: going by it scans everything held."""
        return horizon_ns - last_ns >= self._held_ns // STEPS


def _counted(line: _Line) -> set[str]:
    """The stations that had a part."""
    return {station for station, pane in line.panes.items() if pane.revision > EMPTY_REVISION}


def _rolled(line: _Line) -> float | None:
    """The rolled throughput yield over the stations that saw a unit: a unit passes the line that passes each of them. Not the mean over
    their units, which counts a unit once at each station."""
    ratios = [first_pass_yield_ratio(pane.counts) for pane in line.panes.values()]
    known = [ratio for ratio in ratios if ratio is not None]
    return rolled_throughput_ratio(known) if known else None


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
    first_pass: float | None,
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
        first_pass_yield_ratio=first_pass,
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
