"""Capability of what has a specification, channels and measurements from pictures: Cp, Cpk, Pp, Ppk of a period
(`processors.quality.capability`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import NamedTuple

from processors.picture_values import PictureChart, picture_charts, value_of
from processors.quality.capability import Capability, capability
from processors.quality.capability import Specification as Tolerance
from schemas.plant import Plant
from schemas.sensors import SensorReading
from schemas.specification import Specification
from schemas.verdicts import Verdict

SUBGROUP = 5
"""Readings that follow each other: their spread is that within, the usual size (Montgomery, chapter 6)."""
MOST_READINGS = 500_000


class ChannelCapability(NamedTuple):
    """One channel over the period, in its unit. `found` is None where `why` says why not; `left_out` readings are in no subgroup.

    Of a measurement from pictures `asset` is the station and `channel` the chart; its readings are the parts that have a value.
    """

    asset: str
    channel: str
    unit: str
    low: float | None
    high: float | None
    readings: int
    left_out: int
    found: Capability | None
    why: str = ""


def wanted_channels(plant: Plant) -> set[tuple[str, str]]:
    """Asset and channel of everything with a specification."""
    return {(asset.name, each.name) for asset in plant.assets for each in asset.channels if each.specification}


def capabilities(plant: Plant, readings: Iterable[SensorReading] | None) -> list[ChannelCapability]:
    """Of all channels with a specification, from readings of the period in any order, some perhaps twice; None: they are gone."""
    values: dict[tuple[str, str], dict[tuple[str, int], float]] = {}
    if readings is None:
        return [each._replace(why="readings of this period are not kept any more") for each in _capabilities(plant, {})]
    wanted = wanted_channels(plant)
    for each in readings:
        place = each.asset, each.channel
        if place in wanted and each.value is not None and math.isfinite(each.value):
            mine = values.setdefault(place, {})
            if len(mine) <= MOST_READINGS:
                mine.setdefault((each.session, each.sequence), each.value)
    return list(_capabilities(plant, values))


def picture_capabilities(plant: Plant, verdicts: Iterable[Verdict]) -> list[ChannelCapability]:
    """Of every station and chart of measurements from pictures with a specification, from the newest verdicts of the period in any order:
    subgroups are the values of parts that follow each other by arrival. Stations without a value are left out."""
    wanted = [(each, spec) for each in picture_charts(plant.statistics) if (spec := each.figure.specification)]
    if not wanted:
        return []
    ordered = sorted(verdicts, key=lambda each: (each.station, each.arrived_at_ns, each.part_id, each.visit))
    found = []
    for station, mine in groupby(ordered, key=lambda each: each.station):
        views = [verdict.views for verdict in mine]
        for each, spec in wanted:
            values = [value for of_part in views if (value := value_of(each.figure, of_part)) is not None]
            if values:
                found.append(_of_values(station, each, spec, values))
    return found


def _of_values(station: str, chart: PictureChart, spec: Specification, values: list[float]) -> ChannelCapability:
    groups = [values[at : at + SUBGROUP] for at in range(0, len(values) - SUBGROUP + 1, SUBGROUP)]
    found, why = _found(groups, spec.low, spec.high, readings=len(values))
    return ChannelCapability(
        asset=station,
        channel=chart.chart.name,
        unit="px" if chart.figure.measure.endswith("_px") else "ratio",
        low=spec.low,
        high=spec.high,
        readings=len(values),
        left_out=len(values) - SUBGROUP * len(groups),
        found=found,
        why=why,
    )


def _capabilities(
    plant: Plant, values: dict[tuple[str, str], dict[tuple[str, int], float]]
) -> Iterator[ChannelCapability]:
    for asset in plant.assets:
        for channel in asset.channels:
            if channel.specification is None:
                continue
            mine = values.get((asset.name, channel.name), {})
            low, high = channel.specification.low, channel.specification.high
            groups = list(_subgroups(mine))
            found, why = _found(groups, low, high, readings=len(mine))
            yield ChannelCapability(
                asset=asset.name,
                channel=channel.name,
                unit=channel.unit,
                low=low,
                high=high,
                readings=len(mine),
                left_out=len(mine) - SUBGROUP * len(groups),
                found=found,
                why=why,
            )


def _found(
    groups: list[list[float]], low: float | None, high: float | None, *, readings: int
) -> tuple[Capability | None, str]:
    if readings > MOST_READINGS:
        return None, f"more than {MOST_READINGS} readings: take a shorter period"
    if len(groups) < 2:
        return None, f"fewer than two subgroups of {SUBGROUP} readings that follow each other"
    try:
        return capability(groups, Tolerance(lower=low, upper=high)), ""
    except ValueError as error:
        return None, str(error)


def _subgroups(values: dict[tuple[str, int], float]) -> Iterator[list[float]]:
    """Every five readings of a session without a gap."""
    group: list[float] = []
    ordered = sorted(values)
    for place, after in pairwise([*ordered, ("", -1)]):
        group.append(values[place])
        if len(group) == SUBGROUP:
            yield group
            group = []
        elif after != (place[0], place[1] + 1):
            group = []
