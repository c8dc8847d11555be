"""Panes: the sums of each station over each window, from the verdicts of one partition.

The newest revision of a part's verdict counts, wherever it stands in the log; a duplicate counts once. A window that is
open is told now and then while it changes, then told closed; a verdict that comes later corrects it in a new revision.

A pane's `revision` is a function of the log: twice the offset after the last verdict that changed it, plus one when closed.
So the same revision always has the same content, also when a restart counts the window again. Windows that are not held any
more (older than two of the longest windows) are named by `missing` and counted anew from the log by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from enum import Enum, auto

from processors.gathered_verdicts import Counted, Gathering, Part, PartKey, is_review, was_measured
from processors.open_windows import OpenWindows
from processors.picture_values import needs_every_view, picture_charts
from processors.station_pane import StationPane, StationWindow
from processors.statistics_counts import AnyVerdict, Share, shares
from processors.window_plan import WindowPlan, longest_window_ms
from processors.window_values import ChartedWindows
from processors.windows import Watermark, Window
from schemas.message import NS_PER_MS, NS_PER_S
from schemas.statistics import Pane
from schemas.statistics_settings import StatisticsSettings

UPDATES_PER_WINDOW = 60
PART_BYTES = 320
PANE_BYTES = 1_000
VALUE_BYTES = 500
"""What a part, a window of one level, and the value of a part for one chart take: measured, `tests/unit/test_windows_bound.py`."""


def held_ns(settings: StatisticsSettings) -> int:
    """How far behind the watermark windows are held, in ns: two of the longest, so that what comes late finds its window."""
    return (2 * longest_window_ms(settings) + 2 * settings.grace_ms) * NS_PER_MS


def retell_after_ns(window: Window) -> int:
    """How often a window is told while it is open: at most once a second, and at most sixty times in all."""
    return max(NS_PER_S, window.length_ms * NS_PER_MS // UPDATES_PER_WINDOW)


class Fed(Enum):
    """What became of a verdict: it counts, it counts in a window that was complete, or it changes nothing: it is there already, or its
    part was brought to prove the station."""

    COUNTED = auto()
    LATE = auto()
    DUPLICATE = auto()
    CHALLENGE = auto()


class Panes:
    """The panes of one partition of `verdicts`. Feed it records in order; ask for what is `due`."""

    def __init__(
        self,
        *,
        settings: StatisticsSettings,
        opportunities: Callable[[str], int],
        complete_from_ns: int = 0,
    ) -> None:
        """`opportunities` gives those of a recipe `name@revision`. Verdicts of parts that arrived from `complete_from_ns`
        on will be fed without a gap; windows that begin earlier are not held."""
        self._by = settings.by
        self._by_shift = "shift" in settings.by
        self._charted = ChartedWindows(picture_charts(settings))
        self._measures = bool(self._charted.by)
        self._measures_all = needs_every_view(settings)
        self._part_bytes = PART_BYTES + VALUE_BYTES * len(picture_charts(settings))
        self._plan = WindowPlan(settings)
        self._opportunities = opportunities
        self._complete_from_ns = complete_from_ns
        self._watermark = Watermark(grace_ms=settings.grace_ms, idle_timeout_ms=settings.idle_timeout_ms)
        self._held_ns = held_ns(settings)
        self._parts: dict[PartKey, Part] = {}
        self._panes: dict[StationWindow, StationPane] = {}
        self._open: OpenWindows[StationWindow] = OpenWindows()
        self._changed: set[StationWindow] = set()
        self._must_tell: set[StationWindow] = set()
        self._missing: set[StationWindow] = set()
        self._recent: dict[tuple[str, str, str], tuple[tuple[Window, ...], list[StationPane]]] = {}
        self._alike: dict[tuple[Share, ...], tuple[Share, ...]] = {}  # most parts are, and each is held for long
        self._plain: dict[tuple[object, ...], tuple[Share, ...]] = {}
        self._grace_ns = settings.grace_ms * NS_PER_MS
        self._idle_ms = settings.idle_timeout_ms
        self._shortest_ms = min(settings.windows_ms)

    @property
    def parts_held(self) -> int:
        """How many parts are kept to recognise duplicates and revisions."""
        return len(self._parts)

    @property
    def windows_held(self) -> int:
        """How many windows are kept."""
        return len(self._panes)

    @property
    def held_bytes(self) -> int:
        """About how much memory that takes."""
        return len(self._parts) * self._part_bytes + len(self._panes) * PANE_BYTES

    @property
    def watermark_ns(self) -> int:
        """How far the partition's event time has come, ns; 0 before the first record."""
        return self._watermark.at_ns

    @property
    def urgent(self) -> bool:
        """Whether something other than an update of an open window is due: a window closed, or corrected when closed."""
        return bool(self._must_tell or self._missing)

    def feed(self, verdict: AnyVerdict, *, offset: int, record_at_ms: int) -> Fed:
        """Counts a verdict; a duplicate and a revision that was overtaken change nothing."""
        self._at(verdict, record_at_ms)
        fed = Fed.CHALLENGE if verdict.challenge else self._count(verdict, offset)
        self._watermark.event_at(verdict.arrived_at_ns)
        self._close()
        return fed

    def feed_all(self, records: Iterable[Counted]) -> list[tuple[AnyVerdict, Fed]]:
        """Counts verdicts of the log in their order, as `feed` would one after the other; returns those that did not simply count."""
        odd: list[tuple[AnyVerdict, Fed]] = []
        waiting = iter(records)
        record = next(waiting, None)
        while record is not None:
            verdict, offset, at_ms = record
            fed = self.feed(verdict, offset=offset, record_at_ms=at_ms)
            if fed is not Fed.COUNTED:
                odd.append((verdict, fed))
            record = self._gathered(waiting, odd) if self._gathers() else next(waiting, None)
        return odd

    def pass_by(self, verdict: AnyVerdict, *, record_at_ms: int) -> None:
        """Lets a verdict move the watermark without counting it."""
        self._at(verdict, record_at_ms)
        self._watermark.event_at(verdict.arrived_at_ns)
        self._close()

    def clock_at(self, now_ns: int) -> None:
        """Time passes; windows of a partition that fell idle close."""
        self._watermark.clock_at(now_ns)
        self._close()

    def due(self, now_ns: int) -> list[Pane]:
        """The panes that are to be told now: what closed or was corrected, and open ones that changed (`retell_after_ns`)."""
        keys = [key for key in self._changed if key in self._must_tell or self._is_time(key, now_ns)]
        for key in keys:
            self._panes[key].told_at_ns = now_ns
            self._panes[key].changed = False
        self._changed.difference_update(keys)
        self._must_tell.clear()
        told = [self._pane(key) for key in sorted(keys)]
        self._forget()
        return told

    def take_missing(self) -> set[StationWindow]:
        """Windows that a late verdict belongs to and that are not held: with all their levels, to be counted anew from the log."""
        missing, self._missing = self._missing, set()
        return missing

    def let_go(self, wanted_bytes: int) -> int:
        """Forgets the oldest parts and closed windows, as if those were held for less long; what comes late for them is `missing`.
        Returns how many bytes that freed: fewer than wanted where the rest is of windows that are open."""
        before = self.held_bytes
        arrived = sorted(part.arrived_at_ns for part in self._parts.values())
        most = min(len(arrived) - 1, wanted_bytes // self._part_bytes + len(arrived) // 4)
        untold = (key.window.start_at_ns for key in {*self._open, *self._changed})
        horizon_ns = min(untold, default=self._watermark.at_ns)
        if arrived:
            horizon_ns = min(horizon_ns, arrived[most])
        if horizon_ns > self._complete_from_ns:
            self._forget_before(horizon_ns)
        return before - self.held_bytes

    def settle(self) -> None:
        """What was fed so far was committed: what closed or was corrected has been told; what is open is told once more."""
        self._changed = set(self._open)
        for key, pane in self._panes.items():
            pane.changed = key in self._changed
        self._must_tell.clear()
        self._missing.clear()

    def held(self) -> list[Pane]:
        """All panes that are held, as they are now."""
        return [self._pane(key) for key in sorted(self._panes)]

    def closed_panes(self, windows: Collection[StationWindow]) -> list[Pane]:
        """The panes of those windows, which somebody else knows to be complete, of all parts and of every level."""
        keys = [key for key in sorted(self._panes) if StationWindow(key.station, key.window) in windows]
        for key in keys:
            self._panes[key].closed = True
        return [self._pane(key) for key in keys]

    def __contains__(self, key: object) -> bool:
        """Whether a part was counted in a station's window that is held."""
        return key in self._panes

    def _is_time(self, key: StationWindow, now_ns: int) -> bool:
        return now_ns - self._panes[key].told_at_ns >= retell_after_ns(key.window)

    def _count(self, verdict: AnyVerdict, offset: int) -> Fed:
        key = (verdict.station, verdict.part_id, verdict.visit)
        earlier = self._parts.get(key)
        if earlier is not None and verdict.revision <= earlier.revision:
            return Fed.DUPLICATE
        found = self._shares(verdict)
        part = Part(verdict.revision, verdict.arrived_at_ns, found)
        if earlier is not None:
            for pane, share in self._panes_of(verdict, earlier, offset):
                pane.take((earlier.arrived_at_ns, verdict.part_id, verdict.visit), share)
        for pane, share in self._panes_of(verdict, part, offset):
            pane.add((part.arrived_at_ns, verdict.part_id, verdict.visit), share)
        if part.arrived_at_ns >= self._complete_from_ns:
            self._parts[key] = part
        late = self._watermark.late(Window.containing(part.arrived_at_ns, self._shortest_ms))
        return Fed.LATE if late else Fed.COUNTED

    def _at(self, verdict: AnyVerdict, record_at_ms: int) -> None:
        if is_review(verdict):
            self._watermark.review_at(record_at_ms * NS_PER_MS)
        else:
            self._watermark.record_at(record_at_ms * NS_PER_MS)

    def _gathers(self) -> bool:
        """Whether the windows of the last part are all held and none of them can be late for what arrives within them. Where every part is
        measured nothing could be gathered."""
        plan = self._plan
        return (
            not self._measures_all
            and plan.known_until_ns > self._watermark.log_at_ns
            and all(window.start_at_ns >= self._complete_from_ns for window in plan.known)
        )

    def _gathered(self, records: Iterator[Counted], odd: list[tuple[AnyVerdict, Fed]]) -> Counted | None:
        """Counts records within the windows of the last part, and adds what is there already to `odd`; returns the first that has to be
        counted by itself."""
        duplicates: list[AnyVerdict] = []
        gathering = Gathering(
            from_ns=self._plan.known_from_ns,
            until_ns=self._plan.known_until_ns,
            grace_ns=self._grace_ns,
            idle_ms=self._idle_ms,
            measures=self._measures,
        )
        record, newest_ns, last_ms = gathering.gather(
            records,
            last_record_at_ms=self._watermark.last_news_at_ns // NS_PER_MS,
            known=self._parts,
            shares=self._shares,
            duplicates=duplicates,
        )
        odd += [(verdict, Fed.DUPLICATE) for verdict in duplicates]
        # a pane that several change has the offset of the last one
        for same in sorted(gathering.alike.values(), key=lambda same: same.last_offset):
            part = Part(same.verdict.revision, same.verdict.arrived_at_ns, same.shares)
            for pane, share in self._panes_of(same.verdict, part, same.last_offset):
                pane.sums.add(share.counts, times=same.parts)
        if gathering.alike or duplicates:
            self._watermark.record_at(last_ms * NS_PER_MS)
            self._watermark.event_at(newest_ns)
            self._close()
        return record

    def _shares(self, verdict: AnyVerdict) -> tuple[Share, ...]:
        """Most parts have no view that counts, and what they add has been worked out for the one before."""
        shift = self._shift_at(verdict.arrived_at_ns) if self._by_shift else ""
        if verdict.views:
            found = self._all_shares(verdict, shift)
            # who was measured is like nobody else
            return found if self._measures and was_measured(found) else self._alike.setdefault(found, found)
        kind = (verdict.verdict, verdict.visit == 1, verdict.recipe, verdict.batch, shift, *verdict.labels.items())
        known = self._plain.get(kind)
        if known is None:
            known = self._plain[kind] = self._all_shares(verdict, shift)
        return known

    def _all_shares(self, verdict: AnyVerdict, shift: str) -> tuple[Share, ...]:
        opportunities = self._opportunities(verdict.recipe)
        return tuple(shares(verdict, by=self._by, opportunities=opportunities, shift=shift, charts=self._charted.by))

    def _shift_at(self, at_ns: int) -> str:
        """The shift that holds the moment: one at most, for they do not overlap; empty in a break."""
        return next((window.shift for window in self._plan.containing(at_ns) if window.shift), "")

    def _panes_of(self, verdict: AnyVerdict, part: Part, offset: int) -> Iterator[tuple[StationPane, Share]]:
        """The panes that the verdict changes, noted as changed, each with the share of the part that it holds."""
        windows = self._held(verdict.station, self._plan.containing(part.arrived_at_ns))
        log_at_ns = self._watermark.log_at_ns
        for share in part.shares:
            for pane in self._panes_in(windows, verdict, share):
                if pane.late_from_ns <= log_at_ns and pane.changed_by != offset:
                    pane.late_parts += 1
                    pane.previous = pane.counts()
                pane.changed_by = offset
                if not pane.changed:
                    pane.changed = True
                    self._changed.add(pane.key)
                if pane.closed:
                    self._must_tell.add(pane.key)
                yield pane, share

    def _held(self, station: str, windows: tuple[Window, ...]) -> tuple[Window, ...]:
        """Those of the windows that are held; the others are noted as missing."""
        if all(window.start_at_ns >= self._complete_from_ns for window in windows):
            return windows
        self._missing.update(StationWindow(station, w) for w in windows if w.start_at_ns < self._complete_from_ns)
        return tuple(window for window in windows if window.start_at_ns >= self._complete_from_ns)

    def _panes_in(self, windows: tuple[Window, ...], verdict: AnyVerdict, share: Share) -> list[StationPane]:
        """The panes of those windows. Mostly the same as last time: then the plan gave the very same windows."""
        place = (verdict.station, share.by, share.level)
        recent = self._recent.get(place)
        if recent is None or recent[0] is not windows:
            recent = self._recent[place] = windows, [self._pane_in(window, verdict, share) for window in windows]
        return recent[1]

    def _pane_in(self, window: Window, verdict: AnyVerdict, share: Share) -> StationPane:
        key = StationWindow(verdict.station, window, share.by, share.level)
        pane = self._panes.get(key)
        if pane is None:
            values = self._charted.values_of(window, share.by)
            pane = self._panes[key] = StationPane(key, verdict.line, window.end_at_ns + self._grace_ns, values)
            self._open.add(key, complete_at_ns=pane.late_from_ns)
        return pane

    def _close(self) -> None:
        for key in self._open.take_complete(self._watermark.at_ns):
            self._panes[key].closed = True
            self._panes[key].changed = True
            self._changed.add(key)
            self._must_tell.add(key)

    def _pane(self, key: StationWindow) -> Pane:
        pane, window = self._panes[key], key.window
        revision = 2 * (pane.changed_by + 1) + pane.closed
        return Pane(
            id=f"{key.window.told(key.station, by=key.by, level=key.level)}/{revision}",
            line=pane.line,
            station=key.station,
            window_ms=window.length_ms,
            start_at_ns=window.start_at_ns,
            revision=revision,
            counts=pane.counts(),
            closed=pane.closed,
            late_parts=pane.late_parts,
            kind=window.kind,
            shift=window.shift,
            by=key.by,
            level=key.level,
            previous=pane.previous,
        )

    def _forget(self) -> None:
        horizon_ns = self._watermark.at_ns - self._held_ns
        if horizon_ns - self._complete_from_ns < self._held_ns // 4:
            return  # forgetting scans everything held: do it now and then
        self._forget_before(horizon_ns)

    def _forget_before(self, horizon_ns: int) -> None:
        self._complete_from_ns = horizon_ns
        self._recent.clear()
        self._alike.clear()
        self._plain.clear()
        self._parts = {key: part for key, part in self._parts.items() if part.arrived_at_ns >= horizon_ns}
        self._panes = {key: pane for key, pane in self._panes.items() if key.window.start_at_ns >= horizon_ns}
        self._open.keep_only(self._panes.keys())
        self._changed &= self._panes.keys()
