"""What a quality manager signs for a period: yield, effectiveness, Pareto, control charts, maps, associations, corrections.

Everything is worked out from the messages of the topics and the plant file (baseline, opportunities, cycles, recipes). The same period with
the same plant file always gives the same figures: the newest revision of each part that arrived in it counts, whenever it was made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from processors.planned_stops import planned_stops
from processors.quality.association import Association, associations
from processors.quality.oee import Effectiveness, StateChange, StateTimes, effectiveness, known_from_ns, state_times
from processors.quality.pane_figures import decided_defects, decided_opportunities, decided_parts
from processors.quality.pareto import ParetoRow, pareto
from processors.quality.position_map import Cluster, DefectPosition, cluster, defect_map
from processors.quality.yields import (
    USUAL_SHIFT,
    StationYield,
    Visit,
    defects_per_million,
    defects_per_unit,
    rolled_throughput_ratio,
    sigma_level,
    station_yields,
)
from processors.report_capability import ChannelCapability, capabilities, picture_capabilities
from processors.report_changes import RateChange, rate_change
from processors.report_chart import MarkedPoint, marked_points
from processors.report_labels import labelled
from processors.report_points import ChartedSubject, charted
from processors.statistics_counts import Contribution, Sums
from schemas.charts import ChartPoint
from schemas.message import NS_PER_MS
from schemas.plant import Line, Plant, Station
from schemas.reasons import VerdictValue
from schemas.sensors import SensorReading
from schemas.statistics import PaneCounts
from schemas.verdicts import Verdict

SHOWN_ASSOCIATIONS = 10

Size = Callable[[str, str], tuple[int, int] | None]
"""Width and height in px of the pictures of a recipe's view; None where they are not known."""


class Period(NamedTuple):
    """`[from_ns, to_ns)` of event time, ns since the epoch, UTC."""

    from_ns: int
    to_ns: int

    def holds(self, at_ns: int) -> bool:
        """Whether a moment lies in the period."""
        return self.from_ns <= at_ns < self.to_ns


class Correction(NamedTuple):
    """A part whose verdict was revised: what stood before, what stands now, and who said so when."""

    station: str
    part_id: str
    visit: int
    revision: int
    before: str
    after: str
    decided_by: str
    decided_at_ns: int


class ChallengeCount(NamedTuple):
    """The parts of a challenge that were brought to a station, and how many of them got the verdict that they must get."""

    station: str
    challenge: str
    brought: int
    passed: int


class Map(NamedTuple):
    """Where defects of a recipe's view lie: cells [32][32] of parts with a defect there, and the place that crowds."""

    recipe: str
    view: str
    cells: list[list[int]]
    crowd: Cluster | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StationFigures:
    """One station over the period. Ratios are None where nothing was counted, or `ideal_cycle_ms` is not in the plant file.

    `effective_parts` are those that arrived while the line's state was known: `effectiveness` is of them.
    """

    station: str
    line: str
    counts: PaneCounts
    by_unit: StationYield | None
    defects_per_unit: float | None
    defects_per_million: float | None
    sigma_level: float | None
    times: StateTimes
    effective_parts: int
    effectiveness: Effectiveness | None
    availability_ratio: float | None
    points: list[MarkedPoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodReport:
    """All figures of a period. `sigma_shift` is what every sigma level here includes."""

    period: Period
    stations: list[StationFigures]
    rolled_throughput: dict[str, float | None]
    pareto: list[ParetoRow]
    maps: list[Map]
    associations: list[Association]
    corrections: list[Correction]
    challenges: list[ChallengeCount]
    changes: list[RateChange]
    charts: list[ChartedSubject]
    capabilities: list[ChannelCapability]
    sigma_shift: float = USUAL_SHIFT


def period_report(
    *,
    plant: Plant,
    period: Period,
    verdicts: Iterable[Verdict],
    states: Mapping[str, Sequence[StateChange]],
    size: Size,
    points: Iterable[ChartPoint] = (),
    readings: Iterable[SensorReading] | None = (),
) -> PeriodReport:
    """The report of a period, from verdicts in any order (any revision, also twice) and the line states of each station; from the
    points of its charts, and the readings of channels that have a specification (None: they are not kept any more)."""
    revisions: dict[tuple[str, str, int], dict[int, Verdict]] = {}
    for verdict in verdicts:
        if period.holds(verdict.arrived_at_ns):
            key = (verdict.station, verdict.part_id, verdict.visit)
            revisions.setdefault(key, {}).setdefault(verdict.revision, verdict)
    known = [revisions[key][max(revisions[key])] for key in sorted(revisions)]
    newest = [verdict for verdict in known if not verdict.challenge]
    yields = {found.station: found for found in station_yields(_visits(newest))}
    of_station = {
        station.name: [verdict for verdict in newest if verdict.station == station.name] for station in plant.stations
    }
    stations = [
        _station(
            station,
            line=line.name,
            plant=plant,
            period=period,
            verdicts=of_station[station.name],
            by_unit=yields.get(station.name),
            states=states.get(station.name, ()),
        )
        for line in plant.lines
        for station in line.stations
    ]
    classes = Counter(defect.class_name for verdict in newest for view in verdict.views for defect in view.defects)
    return PeriodReport(
        period=period,
        stations=stations,
        rolled_throughput={line.name: _rolled(line, yields) for line in plant.lines},
        pareto=pareto(classes),
        maps=_maps(newest, size),
        associations=associations(labelled(newest, plant.statistics))[:SHOWN_ASSOCIATIONS],
        corrections=[_correction(each) for _, each in sorted(revisions.items()) if len(each) > 1],
        challenges=_challenges(verdict for verdict in known if verdict.challenge),
        changes=[
            change
            for figures in stations
            if (change := rate_change(figures.station, figures.points, of_station[figures.station]))
        ],
        charts=charted(points),
        capabilities=[*capabilities(plant, readings), *picture_capabilities(plant, newest)],
    )


def _visits(verdicts: Iterable[Verdict]) -> Iterable[Visit]:
    return (Visit(each.station, each.part_id, each.visit, each.verdict) for each in verdicts)


def _challenges(verdicts: Iterable[Verdict]) -> list[ChallengeCount]:
    found: dict[tuple[str, str], list[bool]] = {}
    for verdict in verdicts:
        found.setdefault((verdict.station, verdict.challenge), []).append(bool(verdict.challenge_passed))
    return [ChallengeCount(*place, len(passed), sum(passed)) for place, passed in sorted(found.items())]


def _rolled(line: Line, yields: Mapping[str, StationYield]) -> float | None:
    """None while a station of the line saw no unit: then nothing can be said of the whole line."""
    ratios = [yields[station.name].first_pass_ratio if station.name in yields else None for station in line.stations]
    known = [ratio for ratio in ratios if ratio is not None]
    return rolled_throughput_ratio(known) if known and len(known) == len(ratios) else None


def _station(
    station: Station,
    *,
    line: str,
    plant: Plant,
    period: Period,
    verdicts: Sequence[Verdict],
    by_unit: StationYield | None,
    states: Sequence[StateChange],
) -> StationFigures:
    sums = Sums()
    for verdict in verdicts:
        recipe = plant.recipe(verdict.recipe)
        sums.add(Contribution.of(verdict, opportunities=recipe.opportunities_per_part if recipe else 0))
    counts = sums.counts()
    stops = planned_stops(plant.statistics, from_ns=period.from_ns, to_ns=period.to_ns)
    times = state_times(states, from_ns=period.from_ns, to_ns=period.to_ns, planned_stops=stops)
    known_since_ns = known_from_ns(states, from_ns=period.from_ns, to_ns=period.to_ns)
    effective = [verdict.verdict for verdict in verdicts if verdict.arrived_at_ns >= known_since_ns]
    defects = decided_defects(counts)
    dpmo = defects_per_million(defects, decided_opportunities(counts))
    return StationFigures(
        station=station.name,
        line=line,
        counts=counts,
        by_unit=by_unit,
        defects_per_unit=defects_per_unit(defects, decided_parts(counts)),
        defects_per_million=dpmo,
        sigma_level=sigma_level(dpmo, shift=USUAL_SHIFT) if dpmo is not None and 0 < dpmo <= 1_000_000 else None,
        times=times,
        effective_parts=len(effective),
        effectiveness=_effectiveness(station, times, effective),
        availability_ratio=times.running_ns / times.planned_ns if times.planned_ns else None,
        points=marked_points(verdicts, period_ns=(period.from_ns, period.to_ns), statistics=plant.statistics),
    )


def _effectiveness(station: Station, times: StateTimes, parts: Sequence[VerdictValue]) -> Effectiveness | None:
    if station.ideal_cycle_ms is None:
        return None
    good = sum(part is VerdictValue.OK for part in parts)
    return effectiveness(times, ideal_cycle_ns=station.ideal_cycle_ms * NS_PER_MS, parts=len(parts), good_parts=good)


def _correction(revisions: Mapping[int, Verdict]) -> Correction:
    *_, before, after = (revisions[number] for number in sorted(revisions))
    return Correction(
        station=after.station,
        part_id=after.part_id,
        visit=after.visit,
        revision=after.revision,
        before=before.verdict.value,
        after=after.verdict.value,
        decided_by=after.decided_by,
        decided_at_ns=after.decided_at_ns,
    )


def _maps(verdicts: Iterable[Verdict], size: Size) -> list[Map]:
    positions: dict[tuple[str, str], list[DefectPosition]] = {}
    for verdict in verdicts:
        for view in verdict.views:
            width_height = size(verdict.recipe, view.view) if view.defects else None
            if width_height is None:
                continue
            width_px, height_px = width_height
            for defect in view.defects:
                x1, y1, x2, y2 = defect.box
                # A frame may be a little larger than its reference: what lies beyond counts at the edge.
                x_ratio = min(max((x1 + x2) / 2 / width_px, 0.0), 1.0)
                y_ratio = min(max((y1 + y2) / 2 / height_px, 0.0), 1.0)
                where = positions.setdefault((verdict.recipe, view.view), [])
                where.append(DefectPosition(f"{verdict.station}/{verdict.part_id}", x_ratio, y_ratio))
    maps = []
    for (recipe, name), found in sorted(positions.items()):
        cells = defect_map(found)
        maps.append(Map(recipe, name, cells.tolist(), cluster(cells)))
    return maps
