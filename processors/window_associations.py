"""Causes compared when a window is complete: each level of what parts are told apart by against the others (`quality.association`).

Told once, when nothing of the window came for a moment and all its levels are closed; again when a late verdict or a review changed one.
The revision is the highest of the figures it follows from, so that the same one has the same content in every process, and a restart
knows by what stands on the topic what was told.

None is lost: a window that waits for its turn is told before the figures forget it, and `waiting` says of which windows what changed them
must not be committed yet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from processors.quality.association import Association, associations_of_counts
from processors.statistics_figures import Figures, PlaceWindow
from processors.windows import Window
from schemas.associations import AssociatedLevel, Associations
from schemas.statistics import WindowStatistics
from schemas.statistics_settings import StatisticsSettings

MOST_LEVELS = 100
"""Tested in one window, those with the most parts: an exact test takes a millisecond or two, and the stage waits for it."""
MOST_AT_ONCE = 2
"""Windows that are worked out in one go: the shifts of all lines end together. The others are due the next time."""
MOST_CALLS = 20
"""A window that changes all the time (reviews of a whole shift) is compared after so many calls all the same."""
MOST_WAITING = 1_000
"""Windows that wait for their turn; the stage waits for what is more."""
MOST_SHOWN = 20
MOST_TOLD = 10_000
"""Windows of which the told revision is known; more are forgotten, oldest first, and would be told again under the same id."""

_Level = tuple[str, str]  # label and level
_Counts = tuple[int, int]  # bad parts and parts


class WindowAssociations:
    """The windows of one partition. `note` what changes, ask for what is `due`."""

    def __init__(self, *, settings: StatisticsSettings) -> None:
        self._over = {(each.over, each.window_ms or 0) for each in settings.associations}
        self._changed: set[PlaceWindow] = set()
        self._waiting: dict[PlaceWindow, int] = {}  # in how many calls of `due`
        self._told: OrderedDict[PlaceWindow, int] = OrderedDict()

    def recall(self, told: Associations) -> None:
        """What stands on the topic."""
        place = PlaceWindow(told.line, Window(told.start_at_ns, told.window_ms, told.kind, told.shift))
        self._note_told(place, max(told.revision, self._told.get(place, -1)))

    def resume(self, figures: Figures) -> None:
        """After a restart: what is complete and was not told yet is due."""
        self._changed |= self.wanted(figures.windows())

    def wanted(self, places: Iterable[PlaceWindow]) -> set[PlaceWindow]:
        """Those over which causes are compared."""
        if not self._over:
            return set()
        return {place for place in places if _kind_of(place.window) in self._over}

    def note(self, figures: Iterable[WindowStatistics]) -> None:
        """Figures that changed."""
        if self._over:
            self._changed |= self.wanted(
                PlaceWindow(each.line, Window(each.start_at_ns, each.window_ms, each.kind, each.shift))
                for each in figures
                if each.scope == "line" and each.closed
            )

    @property
    def waiting(self) -> frozenset[PlaceWindow]:
        """Windows that changed and were not compared since. What changed them is not done with before they are none of these."""
        return frozenset(self._waiting).union(self._changed)

    def due(self, figures: Figures) -> list[Associations]:
        """Of some windows that changed before the last call and not since: the levels of one window may come in several batches. At once of
        all that the figures are about to forget: those would have no levels the next time."""
        for place in sorted(self._changed):
            self._waiting.setdefault(place, 0)
        ripe = [p for p, calls in self._waiting.items() if p not in self._changed or calls >= MOST_CALLS]
        now = figures.ending().intersection(self._waiting)
        now.update(ripe[: max(MOST_AT_ONCE, len(ripe) - MOST_WAITING)])
        self._waiting = {place: calls + 1 for place, calls in self._waiting.items() if place not in now}
        self._changed = set()
        return self.compared(figures, now) if now else []

    def compared(self, figures: Figures, places: set[PlaceWindow]) -> list[Associations]:
        """Those of the places that are complete and were not told like this."""
        found = []
        for place, levels in sorted(figures.levels(places).items()):
            if max(each.revision for each in levels) <= self._told.get(place, -1):
                continue
            told = associations_of_window(place, levels)
            if told is not None:
                self._note_told(place, told.revision)
                found.append(told)
        return found

    def _note_told(self, place: PlaceWindow, revision: int) -> None:
        self._told[place] = revision
        if len(self._told) > MOST_TOLD:
            self._told.popitem(last=False)


def associations_of_window(place: PlaceWindow, figures: Sequence[WindowStatistics]) -> Associations | None:
    """From the line's figures of a window, of all parts and of every level; None as long as one of them is open."""
    whole = next((each.counts for each in figures if not each.by), None)
    if whole is None or not all(each.closed for each in figures):
        return None
    counts: dict[_Level, _Counts] = {
        (each.by, each.level): (each.counts.not_ok, each.counts.ok + each.counts.not_ok) for each in figures if each.by
    }
    chosen = sorted(counts, key=lambda level: (-counts[level][1], level))[:MOST_LEVELS]
    rows = associations_of_counts(_by_label(counts), tested=frozenset(chosen))
    revision = max(each.revision for each in figures)
    window = place.window
    return Associations(
        id=f"{window.told(place.line, by='', level='')}/{revision}",
        line=place.line,
        window_ms=window.length_ms,
        start_at_ns=window.start_at_ns,
        revision=revision,
        not_ok=whole.not_ok,
        decided=whole.ok + whole.not_ok,
        compared=len(rows),
        pointed_at=sum(row.pointed_at for row in rows),
        levels=tuple(_told(row) for row in rows[:MOST_SHOWN]),
        left_out=len(counts) - len(chosen),
        kind=window.kind,
        shift=window.shift,
    )


def _kind_of(window: Window) -> tuple[str, int]:
    return window.kind, 0 if window.kind == "shift" else window.length_ms


def _by_label(counts: dict[_Level, _Counts]) -> dict[str, dict[str, _Counts]]:
    found: dict[str, dict[str, _Counts]] = {}
    for (label, level), sums in counts.items():
        found.setdefault(label, {})[level] = sums
    return found


def _told(row: Association) -> AssociatedLevel:
    return AssociatedLevel(
        label=row.label,
        level=row.level,
        bad=row.bad,
        parts=row.parts,
        other_bad=row.other_bad,
        other_parts=row.other_parts,
        risk_ratio=row.risk_ratio.value,
        risk_ratio_lower=row.risk_ratio.lower,
        risk_ratio_upper=row.risk_ratio.upper,
        p_value=row.p_value,
        adjusted_p=row.adjusted_p,
        pointed_at=row.pointed_at,
    )
