"""Yield from the visits of units: first pass, rolled throughput, rework, and defects per unit and opportunity as a sigma level.

First pass yield by unit: ISO 22400-2. Rolled throughput yield: the product of the stations' first pass yields (M. Harry; iSixSigma, "How
can I determine if my rolled throughput yield is acceptable?").
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from scipy.stats import norm

from schemas.reasons import VerdictValue

USUAL_SHIFT = 1.5  # standard deviations, Motorola's convention for what a process wanders in the long run
PER_MILLION = 1_000_000


class Visit(NamedTuple):
    """One visit of a unit (by serial) to a station, and the newest revision of its verdict."""

    station: str
    unit: str
    number: int
    verdict: VerdictValue


class StationYield(NamedTuple):
    """Of the units seen at a station. A unit passes first if its visit 1 was OK; it is reworked if it came again.

    `recovered` units were not OK at first and OK on their last visit. `first_pass_ratio` is None where no unit's visit 1 was seen.
    """

    station: str
    units: int
    first_pass: int
    reworked: int
    recovered: int
    first_pass_ratio: float | None


def station_yields(visits: Iterable[Visit]) -> list[StationYield]:
    """One per station, by name. A visit given twice counts once (the last one holds); order does not matter otherwise."""
    by_station: dict[str, dict[str, dict[int, VerdictValue]]] = {}
    for visit in visits:
        by_station.setdefault(visit.station, {}).setdefault(visit.unit, {})[visit.number] = visit.verdict
    return [_station_yield(station, list(units.values())) for station, units in sorted(by_station.items())]


def rolled_throughput_ratio(first_pass_ratios: Sequence[float]) -> float:
    """Share of units that pass every station at first, if stations fail independently; 1 without stations."""
    return math.prod(first_pass_ratios)


def defects_per_unit(defects: int, units: int) -> float | None:
    """DPU; None without units."""
    return defects / units if units else None


def defects_per_million(defects: int, opportunities: int) -> float | None:
    """DPMO; None without opportunities."""
    return defects * PER_MILLION / opportunities if opportunities else None


def sigma_level(defects_per_million_opportunities: float, *, shift: float) -> float:
    """z of the share without a defect, plus `shift`: 0 for the long-term level, `USUAL_SHIFT` for that of "six sigma" tables.

    Say beside the figure which of the two it is. Infinite for 0 defects. Raises ValueError outside 0..1,000,000.
    """
    if not 0 <= defects_per_million_opportunities <= PER_MILLION:
        raise ValueError(f"expected 0 to 1,000,000 defects per million, got {defects_per_million_opportunities}")
    return float(norm.isf(defects_per_million_opportunities / PER_MILLION)) + shift


def _station_yield(station: str, units: list[dict[int, VerdictValue]]) -> StationYield:
    first = [visits[1] for visits in units if 1 in visits]
    passed = sum(verdict is VerdictValue.OK for verdict in first)
    again = [visits for visits in units if max(visits) > 1]
    return StationYield(
        station=station,
        units=len(first),
        first_pass=passed,
        reworked=len(again),
        recovered=sum(
            1 in visits and visits[1] is not VerdictValue.OK and visits[max(visits)] is VerdictValue.OK
            for visits in again
        ),
        first_pass_ratio=passed / len(first) if first else None,
    )
