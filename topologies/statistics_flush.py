"""What one flush of the statistics stage tells, and what it finishes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from processors.statistics_figures import PlaceWindow
from schemas.associations import Associations
from schemas.charts import ChartPoint
from schemas.statistics import Pane, WindowStatistics
from schemas.topics import ASSOCIATIONS, CHARTS, PANES, STATISTICS, Topic
from topologies.batches import Batch
from topologies.late_statistics import CorrectedPoint
from topologies.log_readings import Finish, Owed
from topologies.producer import Outgoing


@dataclass(slots=True)
class Behind:
    """A partition of panes whose figures wait for others that are put together from the log, and the batches that wait with them."""

    figures: list[WindowStatistics]
    batches: list[Batch] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Uncompared:
    """Windows of a partition whose comparison is due, and what finishes the records that made it due."""

    partition: int
    windows: frozenset[PlaceWindow]
    finish: Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Points of a partition that are to be worked out from the log when this flush is out, and what they finish."""

    partition: int
    points: dict[CorrectedPoint, WindowStatistics]
    finishes: Sequence[Finish]


class Flush:
    """Gathers what is told. The records of `batches` are finished by everybody who took a share of their partition's."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.panes: list[Pane] = []
        self.figures: list[WindowStatistics] = []
        self.points: list[ChartPoint] = []
        self.compared: list[Associations] = []
        self.corrections: list[Correction] = []
        self.finishes: list[Finish] = []
        self._owed: dict[tuple[str, int], Owed] = {}
        for batch in batches:
            owed = self._owed.setdefault((batch.topic.name, batch.partition), Owed())
            owed.finishes.append(batch.finish)
        self.finishes += [owed.share() for owed in self._owed.values()]

    def has(self, topic: Topic, partition: int) -> bool:
        """Whether records of the partition are finished by this flush."""
        return (topic.name, partition) in self._owed

    def share(self, topic: Topic, partition: int) -> Finish:
        """What one more has to call before the partition's records of this flush are finished."""
        return self._owed.setdefault((topic.name, partition), Owed()).share()

    def outgoing(self) -> list[Outgoing]:
        """Everything that is told."""
        return [
            *(Outgoing(topic=PANES, key=pane.line, message=pane) for pane in self.panes),
            *(Outgoing(topic=STATISTICS, key=found.line, message=found) for found in self.figures),
            *(Outgoing(topic=CHARTS, key=point.line, message=point) for point in self.points),
            *(Outgoing(topic=ASSOCIATIONS, key=each.line, message=each) for each in self.compared),
        ]
