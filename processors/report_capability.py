"""Capability of the channels that have a specification: Cp, Cpk, Pp, Ppk of a period's readings (`processors.quality.capability`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from processors.quality.capability import Capability, Specification, capability
from schemas.plant import Plant
from schemas.sensors import SensorReading

SUBGROUP = 5
"""Readings that follow each other: their spread is that within, the usual size (Montgomery, chapter 6)."""
MOST_READINGS = 500_000


class ChannelCapability(NamedTuple):
    """One channel over the period, in its unit. `found` is None where `why` says why not; `left_out` readings are in no subgroup."""

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
        return capability(groups, Specification(lower=low, upper=high)), ""
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
