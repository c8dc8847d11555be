"""Points of control charts."""

from __future__ import annotations

from schemas.message import Message, Value


class SpreadPoint(Value, frozen=True, kw_only=True):
    """The point of the spread chart beside a measurement's: a range, deviation or moving range. Limits are None in phase I."""

    value: float
    centre: float | None = None
    lower: float | None = None
    upper: float | None = None
    outside: bool = False


class CusumSums(Value, frozen=True, kw_only=True):
    """Both sums of a CUSUM, and the number of points since each was last 0: the shift began about that long ago."""

    upper: float
    lower: float
    upper_since: int
    lower_since: int


class ChartPoint(Message, frozen=True, kw_only=True):
    """One point of a control chart of the plant file; `id` is `chart/subject/start_at_ns/revision/baseline`.

    The highest `revision` of (chart, subject, start_at_ns) holds, of equal ones the one told last: a baseline was frozen meanwhile.
    Revisions are not consecutive; a late verdict also revises the points after its window, as far as they follow from it.
    `subject` is `station/<name>`, `line/<name>` (`/<by>=<level>` behind it where parts are told apart) or `asset/<name>/<channel>`.
    A point of counts is that of the window `[start_at_ns, end_at_ns)`, `count` of `size` parts; one of measurements that of `values`,
    taken from `start_at_ns` to `end_at_ns`, or, from pictures, of the first parts of that window: fewer than a subgroup have no `value`.
    `value` is what is plotted, None where nothing is counted (any more); `previous` is the plotted value before the last correction of
    the window. An EWMA or CUSUM of counts is in standard deviations.
    `phase` 1: no baseline is frozen, and there are no limits. `baseline` is the digest of the frozen record, `rules` the run rules
    that the point completes.
    """

    chart: str
    kind: str
    subject: str
    line: str
    start_at_ns: int
    end_at_ns: int
    revision: int
    phase: int
    value: float | None = None
    centre: float | None = None
    lower: float | None = None
    upper: float | None = None
    outside: bool = False
    rules: tuple[str, ...] = ()
    count: int = 0
    size: int = 0
    values: tuple[float, ...] = ()
    spread: SpreadPoint | None = None
    sums: CusumSums | None = None
    baseline: str = ""
    frozen_by: str = ""
    previous: float | None = None

    @property
    def signals(self) -> bool:
        """Whether the point says that something is out of control."""
        return self.outside or bool(self.rules) or (self.spread is not None and self.spread.outside)

    def why(self) -> str:
        """What signals, in words; empty where nothing does."""
        said = ["beyond a limit"] if self.outside else []
        said += ["spread beyond a limit"] if self.spread is not None and self.spread.outside else []
        return "; ".join([*said, *(rule.replace("_", " ") for rule in self.rules)])
