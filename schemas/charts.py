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


FEW_EXPECTED = 2.0
"""With fewer expected in a point an EWMA or CUSUM of counts with the default settings may be wrong more often than once in 720 points."""


class ChartPoint(Message, frozen=True, kw_only=True):
    """One point of a control chart of the plant file; `id` is `chart/subject/start_at_ns/revision/baseline`.

    The highest `revision` of (chart, subject, start_at_ns) holds, of equal ones the one told last: a baseline was frozen meanwhile.
    Revisions are not consecutive; a late verdict also revises the points after its window, as far as they follow from it.
    `subject` is `station/<name>`, `line/<name>` (`/<by>=<level>` behind it where parts are told apart) or `asset/<name>/<channel>`.
    A point of counts is that of the window `[start_at_ns, end_at_ns)`, `count` of `size` parts; one of measurements that of `values`,
    taken from `start_at_ns` to `end_at_ns`, or, from pictures, of the first parts of that window: fewer than a subgroup have no `value`.
    `value` is what is plotted, None where nothing is counted (any more); `previous` is the plotted value before the last correction of
    the window. An EWMA or CUSUM of counts is in standard deviations.
    `expected_count` is how many an EWMA or CUSUM of counts expects in this point by its baseline: with fewer than two its limits are
    met by chance more often than with the default settings once in 720 points (docs/statistics.md); other charts have None.
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
    expected_count: float | None = None

    @property
    def few_expected(self) -> bool:
        """Whether an EWMA or CUSUM of counts is wrong more often than its limits promise: too few are expected in a point."""
        return self.expected_count is not None and self.expected_count < FEW_EXPECTED

    @property
    def signals(self) -> bool:
        """Whether the point says that something is out of control."""
        return self.outside or bool(self.rules) or (self.spread is not None and self.spread.outside)

    def why(self) -> str:
        """What signals, in words; empty where nothing does."""
        said = ["beyond a limit"] if self.outside else []
        if said and self.few_expected:
            said = [
                f"beyond a limit, by a point of {self.expected_count:.2g} expected: wrong more often than it should be"
            ]
        said += ["spread beyond a limit"] if self.spread is not None and self.spread.outside else []
        return "; ".join([*said, *(rule.replace("_", " ") for rule in self.rules)])
