"""One control chart of one subject: samples of event time in, points out; a sample that comes late revises the points after it.

A point follows from its own sample, and with run rules, an EWMA, a CUSUM or moving ranges from those of the last 100 sample lengths
before it, as far as they fall under the same frozen baseline. That makes it a function of a bounded part of the log: the same after a
restart, in another order, in a replay. An EWMA of weight 0.2 has forgotten what is older (0.8^100 = 2e-10); after a longer pause a
chart begins anew. The revision of a point is the highest of the samples it follows from.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from processors.chart_baselines import digest
from processors.chart_points import Plotted, Sample, plot
from schemas.chart_settings import AnyBaseline, Chart
from schemas.charts import ChartPoint

MEMORY_SAMPLES = 100
HELD_SAMPLES = 2 * MEMORY_SAMPLES
"""So that each of the newest 100 can be revised, with everything that it follows from."""


def memory_samples(chart: Chart) -> int:
    """From how many sample lengths a point follows, its own included."""
    follows_from_others = bool(chart.rules) or chart.chart in ("ewma", "cusum", "i_mr")
    return MEMORY_SAMPLES if follows_from_others else 1


class Subject(NamedTuple):
    """Whose points these are, and the line that their topic is keyed by."""

    name: str
    line: str


class Series:
    """The samples of one chart and subject that are held, and the points that follow from them."""

    def __init__(
        self,
        *,
        chart: Chart,
        subject: Subject,
        length_ns: int,
        baselines: Iterable[AnyBaseline],
        whole_from_ns: int = 0,
    ) -> None:
        """Samples begin every `length_ns` or so; those from `whole_from_ns` on will be put without a gap."""
        mine = [each for each in baselines if (each.chart, each.subject) == (chart.name, subject.name)]
        self._baselines = [(each, digest(each)) for each in sorted(mine, key=lambda each: each.applies_from_ns)]
        self._chart = chart
        self._subject = subject
        self._memory_ns = memory_samples(chart) * length_ns
        self._held_ns = HELD_SAMPLES * length_ns
        self._whole_from_ns = whole_from_ns
        self._starts: list[int] = []
        self._samples: dict[int, Sample] = {}
        self._changed: set[int] = set()
        self._told: dict[int, ChartPoint] = {}

    @property
    def newest_ns(self) -> int:
        """The begin of the newest sample; 0 before the first."""
        return self._starts[-1] if self._starts else 0

    def reaches(self, start_at_ns: int) -> bool:
        """Whether a sample of that moment, and everything that follows from it, can be worked out from what is held."""
        return self._whole_from_ns == 0 or start_at_ns - self._memory_ns >= self._whole_from_ns

    def holds(self, start_at_ns: int) -> bool:
        """Whether a sample of that moment is held: later points follow from it, even where its own cannot be worked out."""
        return start_at_ns >= self._whole_from_ns

    def whole_from(self, at_ns: int) -> None:
        """Samples from `at_ns` on are put without a gap, if that is earlier than what was known."""
        self._whole_from_ns = min(self._whole_from_ns, at_ns)

    def put(self, sample: Sample) -> None:
        """A sample that is to be held; one that is not newer than the last of its moment changes nothing."""
        known = self._samples.get(sample.start_at_ns)
        if known is not None and sample.revision <= known.revision:
            return
        if known is None:
            insort(self._starts, sample.start_at_ns)
        self._samples[sample.start_at_ns] = sample
        self._changed.add(sample.start_at_ns)

    def recall(self, point: ChartPoint) -> None:
        """A point that was told before: its sample is known, and it is not told again unless something else follows now."""
        self.put(Sample.of(point))
        told = self._told.get(point.start_at_ns)
        if told is None or point.revision >= told.revision:
            self._told[point.start_at_ns] = point

    def due(self) -> list[ChartPoint]:
        """The points that are not as they were told last, oldest first."""
        due = []
        for start_at_ns in self._touched():
            point = self._point(start_at_ns)
            if point != self._told.get(start_at_ns):
                self._told[start_at_ns] = point
                due.append(point)
        self._changed.clear()
        self._forget()
        return due

    def points(self) -> list[ChartPoint]:
        """Every point that is held, oldest first."""
        return [self._point(start_at_ns) for start_at_ns in self._starts]

    def _touched(self) -> list[int]:
        """The moments whose points follow from what changed, without those whose past is not held."""
        touched: set[int] = set()
        for first in self._changed:
            begin, end = bisect_left(self._starts, first), bisect_left(self._starts, first + self._memory_ns)
            touched.update(self._starts[begin:end])
        return sorted(start_at_ns for start_at_ns in touched if self.reaches(start_at_ns))

    def _point(self, start_at_ns: int) -> ChartPoint:
        baseline, name = self._baseline_at(start_at_ns)
        oldest_ns = max(start_at_ns - self._memory_ns + 1, baseline.applies_from_ns if baseline else 0)
        at = bisect_left(self._starts, start_at_ns)
        samples = [self._samples[start] for start in self._starts[bisect_left(self._starts, oldest_ns) : at + 1]]
        return self._told_as(plot(self._chart, baseline, samples), samples, baseline, name)

    def _told_as(
        self, plotted: Plotted, samples: Sequence[Sample], baseline: AnyBaseline | None, name: str
    ) -> ChartPoint:
        sample, subject = samples[-1], self._subject
        revision = max(each.revision for each in samples)
        return ChartPoint(
            id=f"{self._chart.name}/{subject.name}/{sample.start_at_ns}/{revision}/{name}",
            chart=self._chart.name,
            kind=self._chart.chart,
            subject=subject.name,
            line=subject.line,
            start_at_ns=sample.start_at_ns,
            end_at_ns=sample.end_at_ns,
            revision=revision,
            phase=1 if baseline is None else 2,
            value=plotted.value,
            centre=plotted.centre,
            lower=plotted.lower,
            upper=plotted.upper,
            outside=plotted.outside,
            rules=plotted.rules,
            count=sample.counted,
            size=sample.size,
            values=sample.values,
            spread=plotted.spread,
            sums=plotted.sums,
            baseline=name,
            frozen_by=baseline.frozen_by if baseline else "",
            previous=sample.previous,
        )

    def _baseline_at(self, start_at_ns: int) -> tuple[AnyBaseline | None, str]:
        """The newest that applies from then on or earlier."""
        for baseline, name in reversed(self._baselines):
            if baseline.applies_from_ns <= start_at_ns:
                return baseline, name
        return None, ""

    def _forget(self) -> None:
        if not self._starts or self._starts[-1] - self._starts[0] < self._held_ns + self._memory_ns // 4:
            return
        horizon_ns = self._starts[-1] - self._held_ns
        self._whole_from_ns = max(self._whole_from_ns, horizon_ns)
        for start_at_ns in self._starts[: bisect_left(self._starts, horizon_ns)]:
            del self._samples[start_at_ns]
            self._told.pop(start_at_ns, None)
        self._starts = self._starts[bisect_left(self._starts, horizon_ns) :]
