"""A control chart's signal as an alert: raised by a point that signals, cleared after some in a row that do not.

A correction of an older point raises nothing: it stands on the topic and in the report, and nobody can act on last week's window.

A point is told when its window is closed, so that its action is valid from then on (the record's time), not from the window's end.
No action follows from a point that was told too late to be about the line as it is, nor from one below the centre: fewer bad parts
than usual are worth an alert, and no reason to stop.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto

from processors.alert_episodes import Clear, Finding, Raise
from processors.alert_rules import AlertInput
from schemas.alert_rules import ChartRule
from schemas.charts import ChartPoint
from schemas.message import NS_PER_MS
from schemas.plant import Plant

ACTS_WITHIN_MS = 60_000
"""After the grace and the idle timeout of its window: a point that is told later than that waited somewhere."""
MOST_SUBJECTS = 10_000
"""Of a chart: batches end, and there are always new ones. Whose points came longest ago is let go of first."""


@dataclass(slots=True)
class _Newest:
    """The newest point of a subject, and how many in a row up to it did not signal."""

    start_at_ns: int = -1
    revision: int = -1
    quiet_before: int = -1  # there is no point yet
    signals: bool = False

    @property
    def quiet(self) -> int:
        return 0 if self.signals else self.quiet_before + 1


class _Side(Enum):
    """Of the centre, where a point lies that signals."""

    UPPER = auto()
    LOWER = auto()


class ChartWatch:
    """One chart rule over every subject of its chart. Points come in the order of their windows; a revision of the newest counts anew."""

    def __init__(self, rule: ChartRule, *, plant: Plant, stations: frozenset[str]) -> None:
        self._rule = rule
        self._plant = plant
        waits_ms = plant.statistics.grace_ms + plant.statistics.idle_timeout_ms
        self._acts_within_ns = (waits_ms + ACTS_WITHIN_MS) * NS_PER_MS
        self._newest: OrderedDict[str, _Newest] = OrderedDict()

    def see(self, message: AlertInput, *, at_ns: int, now_ns: int) -> list[Finding]:
        """A point of any chart."""
        if not isinstance(message, ChartPoint) or message.chart != self._rule.chart or message.phase == 1:
            return []
        newest = self._newest.setdefault(message.subject, _Newest())
        self._newest.move_to_end(message.subject)
        if len(self._newest) > MOST_SUBJECTS:
            self._newest.popitem(last=False)
        if (message.start_at_ns, message.revision) <= (newest.start_at_ns, newest.revision):
            return []
        if message.start_at_ns > newest.start_at_ns:
            newest.quiet_before = newest.quiet
        newest.start_at_ns, newest.revision, newest.signals = message.start_at_ns, message.revision, message.signals
        return self._raised(message, at_ns) if message.signals else self._cleared(message, newest.quiet, at_ns)

    def remember(self, message: AlertInput, *, at_ns: int, now_ns: int) -> None:
        """Counts points without a signal."""
        self.see(message, at_ns=at_ns, now_ns=now_ns)

    def tick(self, now_ns: int) -> list[Finding]:
        """Time alone says nothing about a process: without points an alert stays."""
        return []

    def resume(self, subject: str, now_ns: int) -> None:
        """The points were read back."""

    def _raised(self, point: ChartPoint, at_ns: int) -> list[Finding]:
        side = _side(point)
        acts = side is not _Side.LOWER and at_ns - point.end_at_ns <= self._acts_within_ns
        return [
            Raise(
                rule=self._rule.name,
                subject=point.subject,
                line=point.line,
                station=self._station_of(point) if acts else None,
                since_ns=min(point.end_at_ns, at_ns),
                at_ns=at_ns,
                summary=_told(point),
                value=point.value,
                threshold=point.lower if side is _Side.LOWER and point.sums is None else point.upper,
                evidence=(point.id,),
            )
        ]

    def _cleared(self, point: ChartPoint, quiet: int, at_ns: int) -> list[Finding]:
        if quiet < self._rule.clear_after_points:
            return []
        told = f"{point.chart} of {point.subject}: {quiet} points in a row without a signal"
        return [Clear(rule=self._rule.name, subject=point.subject, at_ns=at_ns, summary=told, value=point.value)]

    def _station_of(self, point: ChartPoint) -> str | None:
        """Where an action acts: the station itself, or the first of the line that has a PLC."""
        kind, _, rest = point.subject.partition("/")
        name = rest.partition("/")[0]
        if kind == "station":
            return name
        stations = next((line.stations for line in self._plant.lines if line.name == point.line), ())
        return next((station.name for station in stations if station.plc is not None), None)


def _side(point: ChartPoint) -> _Side:
    """Of a CUSUM by its sums, which are both plotted upwards. A point without a value signals by its spread, which counts as above."""
    if point.sums is not None:
        is_below = point.sums.lower > point.sums.upper
    else:
        is_below = point.value is not None and point.centre is not None and point.value < point.centre
    return _Side.LOWER if is_below else _Side.UPPER


def _told(point: ChartPoint) -> str:
    counts = f" ({point.count} of {point.size})" if not point.values else ""
    limits = ""
    if point.value is not None and point.lower is not None and point.upper is not None:
        limits = f": {point.value:.4g}{counts}, limits {point.lower:.4g} to {point.upper:.4g}"
    return f"{point.kind} chart {point.chart} of {point.subject}, {point.why()}{limits}"
