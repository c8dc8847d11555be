"""Average run length of run rules on independent points, normal values or counts, as a Markov chain over zones.

C. W. Champ, W. H. Woodall, "Exact Results for Shewhart Control Charts with Supplementary Runs Rules", Technometrics 29 (4), 1987.
Whether six points rise or fourteen alternate does not follow from zones: those two rules are simulated, `benchmarks/statistics.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix, identity
from scipy.sparse.linalg import spsolve
from scipy.stats import binom, norm, poisson

from processors.spc.attribute_charts import AttributeLimits, Law
from processors.spc.run_rules import Place, RunRule

RAREST = 1e-12  # counts rarer than this on either side are left out
ORDER_RULES = frozenset({RunRule.SIX_RISING_OR_FALLING, RunRule.FOURTEEN_ALTERNATING})
SIDE_RUN = {RunRule.EIGHT_ON_ONE_SIDE: 8, RunRule.NINE_ON_ONE_SIDE: 9}


class _State(NamedTuple):
    """What the rules have to know of the past, and no more, so that the chain stays small."""

    beyond_2: tuple[int, ...]  # -1, 0, +1: the last two points beyond 2 sigma
    beyond_1: tuple[int, ...]  # the last four points beyond 1 sigma
    side_run: int  # signed length of the run on one side
    within_run: int  # points in a row within 1 sigma
    beyond_run: int  # points in a row beyond 1 sigma
    both_sides: bool  # whether that run has both sides


def run_rule_length(rules: Iterable[RunRule], *, shift: float, width: float = 3.0) -> float:
    """Points on average until one of the rules is met, of normal values whose mean is `shift` standard deviations off the centre, on a
    chart with limits at +-`width`.

    Raises ValueError for the two rules about the order of neighbours.
    """
    inner = [edge for edge in (0.0, 1.0, 2.0) if edge < width]
    edges = np.array([-np.inf, -width, *(-edge for edge in reversed(inner[1:])), *inner, width, np.inf])
    chances = np.diff(norm.cdf(edges - shift))
    zones: dict[Place, float] = {}
    for low, high, chance in zip(edges[:-1], edges[1:], chances, strict=True):
        middle = float(np.clip((low + high) / 2, -width - 0.5, width + 0.5))
        zones[Place(middle, abs(middle), abs(middle) > width)] = float(chance)
    return _length(zones, frozenset(rules))


def count_run_rule_length(rules: Iterable[RunRule], limits: AttributeLimits, *, size: float, rate: float) -> float:
    """The same of counts in `size` parts or units that really have `rate`, on a chart with exact limits; infinite where none can be met.

    Raises ValueError as `run_rule_length`.
    """
    law = binom(int(size), rate) if limits.chart.law is Law.BINOMIAL else poisson(rate * size)
    zones: dict[Place, float] = {}
    for count in range(max(0, int(law.ppf(RAREST))), int(law.isf(RAREST)) + 1):
        zone = _zone(limits.place(count=count, size=size))
        zones[zone] = zones.get(zone, 0.0) + float(law.pmf(count))
    return _length(zones, frozenset(rules))


def _zone(place: Place) -> Place:
    """One place for all that no rule tells apart."""
    near = float(np.sign(place.near)) * (min(np.ceil(abs(place.near)), 3) - 0.5) if place.near else 0.0
    return Place(near, 0.5 if place.far < 1 else 1.5, place.outside)


def _length(zones: Mapping[Place, float], chosen: frozenset[RunRule]) -> float:
    if chosen & ORDER_RULES:
        raise ValueError(f"expected rules about zones, got {sorted(chosen & ORDER_RULES)}, which are simulated")
    start = _State((0, 0), (0, 0, 0, 0), 0, 0, 0, False)
    numbers = {start: 0}
    rows, columns, steps = [], [], []
    waiting = [start]
    met = False
    while waiting:
        state = waiting.pop()
        for place, chance in zones.items():
            after = _after(state, place, chosen)
            if after is None:
                met = True
                continue
            if after not in numbers:
                numbers[after] = len(numbers)
                waiting.append(after)
            rows.append(numbers[state])
            columns.append(numbers[after])
            steps.append(chance)
    if not met:
        return math.inf
    size = len(numbers)
    chain = identity(size, format="csr") - coo_matrix((steps, (rows, columns)), shape=(size, size)).tocsr()
    return float(spsolve(chain.tocsc(), np.ones(size))[0])


def _after(state: _State, place: Place, rules: frozenset[RunRule]) -> _State | None:
    """The state after a point; None where a rule is met. What no chosen rule asks for is not kept."""
    side = int(np.sign(place.near))
    far, near = abs(place.near) > 2, abs(place.near) > 1
    two = (*state.beyond_2, side if far else 0)
    one = (*state.beyond_1, side if near else 0)
    side_run = state.side_run + side if state.side_run * side > 0 else side
    within_run = state.within_run + 1 if place.far < 1 else 0
    beyond_run = state.beyond_run + 1 if near else 0
    both_sides = near and (state.both_sides or (state.beyond_run > 0 and one[-2] == -side))
    met = {
        RunRule.BEYOND_3_SIGMA: place.outside,
        RunRule.TWO_OF_THREE_BEYOND_2_SIGMA: far and two.count(side) >= 2,
        RunRule.FOUR_OF_FIVE_BEYOND_1_SIGMA: near and one.count(side) >= 4,
        RunRule.EIGHT_ON_ONE_SIDE: abs(side_run) >= 8,
        RunRule.NINE_ON_ONE_SIDE: abs(side_run) >= 9,
        RunRule.FIFTEEN_WITHIN_1_SIGMA: within_run >= 15,
        RunRule.EIGHT_BEYOND_1_SIGMA_BOTH_SIDES: beyond_run >= 8 and both_sides,
    }
    if any(met[rule] for rule in rules):
        return None
    longest = max((SIDE_RUN.get(rule, 0) for rule in rules), default=0)
    watches_beyond = RunRule.EIGHT_BEYOND_1_SIGMA_BOTH_SIDES in rules
    keeps_one = watches_beyond or RunRule.FOUR_OF_FIVE_BEYOND_1_SIGMA in rules
    return _State(
        beyond_2=two[1:] if RunRule.TWO_OF_THREE_BEYOND_2_SIGMA in rules else (0, 0),
        beyond_1=one[1:] if keeps_one else (0, 0, 0, 0),
        side_run=side_run if longest else 0,
        within_run=within_run if RunRule.FIFTEEN_WITHIN_1_SIGMA in rules else 0,
        beyond_run=min(beyond_run, 8) if watches_beyond else 0,
        both_sides=both_sides and watches_beyond,
    )
