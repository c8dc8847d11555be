"""Average run length of run rules on independent normal points, as a Markov chain over zones.

C. W. Champ, W. H. Woodall, "Exact Results for Shewhart Control Charts with Supplementary Runs Rules", Technometrics 29 (4), 1987.
Whether six points rise or fourteen alternate does not follow from zones: those two rules are simulated, `benchmarks/statistics.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix, identity
from scipy.sparse.linalg import spsolve
from scipy.stats import norm

from processors.spc.run_rules import RunRule

EDGES = (-np.inf, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, np.inf)
MIDDLES = (-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5)  # one value for all of a zone
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


def run_rule_length(rules: Iterable[RunRule], *, shift: float) -> float:
    """Points on average until one of the rules is met, the mean `shift` standard deviations off the centre.

    Raises ValueError for the two rules about the order of neighbours.
    """
    chosen = frozenset(rules)
    if chosen & ORDER_RULES:
        raise ValueError(f"expected rules about zones, got {sorted(chosen & ORDER_RULES)}, which are simulated")
    chances = np.diff(norm.cdf(np.array(EDGES) - shift))
    start = _State((0, 0), (0, 0, 0, 0), 0, 0, 0, False)
    numbers = {start: 0}
    rows, columns, steps = [], [], []
    waiting = [start]
    while waiting:
        state = waiting.pop()
        for middle, chance in zip(MIDDLES, chances, strict=True):
            after = _after(state, middle, chosen)
            if after is None:
                continue
            if after not in numbers:
                numbers[after] = len(numbers)
                waiting.append(after)
            rows.append(numbers[state])
            columns.append(numbers[after])
            steps.append(chance)
    size = len(numbers)
    chain = identity(size, format="csr") - coo_matrix((steps, (rows, columns)), shape=(size, size)).tocsr()
    return float(spsolve(chain.tocsc(), np.ones(size))[0])


def _after(state: _State, point: float, rules: frozenset[RunRule]) -> _State | None:
    """The state after a point; None where a rule is met. What no chosen rule asks for is not kept."""
    side = 1 if point > 0 else -1
    far, near = abs(point) > 2, abs(point) > 1
    two = (*state.beyond_2, side if far else 0)
    one = (*state.beyond_1, side if near else 0)
    side_run = state.side_run + side if state.side_run * side > 0 else side
    within_run, beyond_run = (0, state.beyond_run + 1) if near else (state.within_run + 1, 0)
    both_sides = near and (state.both_sides or (state.beyond_run > 0 and one[-2] == -side))
    met = {
        RunRule.BEYOND_3_SIGMA: abs(point) > 3,
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
