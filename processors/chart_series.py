"""One control chart of one subject: samples of event time in, points out; a sample that comes late revises the points after it.

A point follows from its own sample, and with run rules, an EWMA, a CUSUM or moving ranges from those of the last 100 sample lengths
before it, as far as they fall under the same frozen baseline. That makes it a function of a bounded part of the log: the same after a
restart, in another order, in a replay. An EWMA of weight 0.2 has forgotten what is older (0.8^100 = 2e-10); after a longer pause a
chart begins anew. The revision of a point is the highest of the samples it follows from.

Windows that overlap share parts, so that neighbours move together whatever the process does: run rules, an EWMA, a CUSUM and moving ranges
are for independent points and would signal for nothing (Montgomery, chapter 9, of moving average charts). A point of theirs follows only
from windows that share no part with it or with each other: those that lie a whole number of lengths before it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from processors.chart_baselines import digest
from processors.chart_points import Plotted, Sample, plot
from schemas.chart_settings import AnyBaseline, Chart
from schemas.charts import ChartPoint
from schemas.message import NS_PER_S

MEMORY_SAMPLES = 100
LONGEST_MEMORY_NS = 180 * 24 * 3600 * NS_PER_S
"""Less than half of how long points are kept on the topic, so that a restart finds all that it has to hold."""


def memory_ns(chart: Chart, length_ns: int) -> int:
    """How far back a point follows from others, its own sample included. Samples begin every `length_ns` or so."""
    follows_from_others = bool(chart.rules) or chart.chart in ("ewma", "cusum", "i_mr")
    return min(MEMORY_SAMPLES * length_ns, max(length_ns, LONGEST_MEMORY_NS)) if follows_from_others else length_ns


def longest_memory_ns(chart: Chart, baselines: Iterable[AnyBaseline], length_ns: int) -> int:
    """The longest memory that points of the chart have or had: those under an earlier record follow from others as it says."""
    frozen = (each.settings for each in baselines if each.chart == chart.name)
    return max(memory_ns(each, length_ns) for each in (chart, *frozen))


def held_ns(length_ns: int) -> int:
    """How far back samples are held: so that each of the newest 100 can be revised, with everything that it follows from."""
    return 2 * min(MEMORY_SAMPLES * length_ns, max(length_ns, LONGEST_MEMORY_NS))


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
        step_ns: int = 0,
        whole_from_ns: int = 0,
    ) -> None:
        """Samples begin every `length_ns` or so; those from `whole_from_ns` on will be put without a gap.

        With `step_ns` a point follows only from samples that begin a whole number of steps before it.
        """
        mine = [each for each in baselines if (each.chart, each.subject) == (chart.name, subject.name)]
        self._baselines = [(each, digest(each)) for each in sorted(mine, key=lambda each: each.applies_from_ns)]
        self._chart = chart
        self._subject = subject
        self._length_ns = length_ns
        self._memory_ns = longest_memory_ns(chart, mine, length_ns)
        self._held_ns = held_ns(length_ns)
        self._step_ns = step_ns
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

    def knows(self, start_at_ns: int) -> bool:
        """Whether there is a sample of that moment."""
        return start_at_ns in self._samples

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
        self._forget()  # what is read back may reach further than this chart's memory, if another's does

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
            touched.update(self._starts_between(first, first + self._memory_ns - 1, aligned_with=first))
        return sorted(start_at_ns for start_at_ns in touched if self.reaches(start_at_ns))

    def _starts_between(self, first_ns: int, last_ns: int, *, aligned_with: int) -> Sequence[int]:
        """The moments of samples from the first to the last, both included: with a step only those whole steps from `aligned_with`."""
        if self._step_ns == 0:
            return self._starts[bisect_left(self._starts, first_ns) : bisect_right(self._starts, last_ns)]
        aligned_ns = first_ns + (aligned_with - first_ns) % self._step_ns
        return [start for start in range(aligned_ns, last_ns + 1, self._step_ns) if start in self._samples]

    def _point(self, start_at_ns: int) -> ChartPoint:
        baseline, name = self._baseline_at(start_at_ns)
        chart = self._chart if baseline is None else baseline.settings
        oldest_ns = start_at_ns - memory_ns(chart, self._length_ns) + 1
        oldest_ns = max(oldest_ns, baseline.applies_from_ns if baseline else 0)
        samples = [self._samples[at] for at in self._starts_between(oldest_ns, start_at_ns, aligned_with=start_at_ns)]
        return self._told_as(plot(chart, baseline, samples), samples, baseline, name)

    def _told_as(
        self, plotted: Plotted, samples: Sequence[Sample], baseline: AnyBaseline | None, name: str
    ) -> ChartPoint:
        sample, subject = samples[-1], self._subject
        chart = self._chart if baseline is None else baseline.settings
        revision = max(each.revision for each in samples)
        return ChartPoint(
            id=f"{self._chart.name}/{subject.name}/{sample.start_at_ns}/{revision}/{name}",
            chart=self._chart.name,
            kind=chart.chart,
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
            expected_count=plotted.expected_count,
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
            self._changed.discard(start_at_ns)
        self._starts = self._starts[bisect_left(self._starts, horizon_ns) :]
