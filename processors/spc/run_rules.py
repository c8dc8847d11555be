"""Run rules on points as standard deviations: Western Electric (Statistical Quality Control Handbook, 1956) and Nelson.

L. S. Nelson, "The Shewhart Control Chart: Tests for Special Causes", Journal of Quality Technology 16 (4), 1984. Each rule costs false
alarms: average run lengths in control stand in docs/statistics.md and come from `run_rule_lengths`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

LONGEST_WINDOW = 15


class Place(NamedTuple):
    """Where a point lies, in standard deviations of a normal value from the centre; `outside`: beyond a limit of its chart.

    A count stands for a span of normal values, not for one: it lies at least as far as `near`, which is 0 where the span holds the centre,
    and at most as far as `far` on either side. Of a measurement both are the same.
    """

    near: float
    far: float
    outside: bool

    @staticmethod
    def of_score(score: float) -> Place:
        """Of a normal value, on a chart with limits at three standard deviations."""
        return Place(score, abs(score), abs(score) > 3)


class RunRule(StrEnum):
    """A pattern of the newest points, in standard deviations from the centre. The first is a point beyond a limit of its chart."""

    BEYOND_3_SIGMA = "beyond_3_sigma"
    TWO_OF_THREE_BEYOND_2_SIGMA = "two_of_three_beyond_2_sigma"
    FOUR_OF_FIVE_BEYOND_1_SIGMA = "four_of_five_beyond_1_sigma"
    EIGHT_ON_ONE_SIDE = "eight_on_one_side"
    NINE_ON_ONE_SIDE = "nine_on_one_side"
    SIX_RISING_OR_FALLING = "six_rising_or_falling"
    FOURTEEN_ALTERNATING = "fourteen_alternating"
    FIFTEEN_WITHIN_1_SIGMA = "fifteen_within_1_sigma"
    EIGHT_BEYOND_1_SIGMA_BOTH_SIDES = "eight_beyond_1_sigma_both_sides"


WESTERN_ELECTRIC = (
    RunRule.BEYOND_3_SIGMA,
    RunRule.TWO_OF_THREE_BEYOND_2_SIGMA,
    RunRule.FOUR_OF_FIVE_BEYOND_1_SIGMA,
    RunRule.EIGHT_ON_ONE_SIDE,
)
NELSON = (
    RunRule.BEYOND_3_SIGMA,
    RunRule.NINE_ON_ONE_SIDE,
    RunRule.SIX_RISING_OR_FALLING,
    RunRule.FOURTEEN_ALTERNATING,
    RunRule.TWO_OF_THREE_BEYOND_2_SIGMA,
    RunRule.FOUR_OF_FIVE_BEYOND_1_SIGMA,
    RunRule.FIFTEEN_WITHIN_1_SIGMA,
    RunRule.EIGHT_BEYOND_1_SIGMA_BOTH_SIDES,
)


class RunRules:
    """The chosen rules over a stream of points; remembers the newest 15."""

    def __init__(self, rules: Iterable[RunRule]) -> None:
        self._rules = tuple(dict.fromkeys(rules))
        self._newest: deque[Place] = deque(maxlen=LONGEST_WINDOW)

    def add(self, point: Place) -> tuple[RunRule, ...]:
        """Takes a point and gives the rules that it completes, in the order they were chosen."""
        self._newest.append(point)
        near = [each.near for each in self._newest]
        return tuple(rule for rule in self._rules if self._met(rule, near))

    def _met(self, rule: RunRule, near: Sequence[float]) -> bool:
        if rule is RunRule.BEYOND_3_SIGMA:
            return self._newest[-1].outside  # the chart's own limits: a rule that disagrees with them helps nobody
        if rule is RunRule.FIFTEEN_WITHIN_1_SIGMA:
            return len(near) == LONGEST_WINDOW and all(each.far < 1 for each in self._newest)
        return _PATTERNS[rule](near)


def _several_beyond(points: Sequence[float], *, several: int, window: int, sigma: float) -> bool:
    """`several` of the newest `window` beyond `sigma` on the side of the newest, which is one of them."""
    newest, recent = points[-1], points[-window:]
    above, below = sum(p > sigma for p in recent), sum(p < -sigma for p in recent)
    return (newest > sigma and above >= several) or (newest < -sigma and below >= several)


def _on_one_side(points: Sequence[float], length: int) -> bool:
    recent = points[-length:]
    return len(recent) == length and (all(p > 0 for p in recent) or all(p < 0 for p in recent))


def _rising_or_falling(points: Sequence[float], length: int) -> bool:
    steps = _steps(points, length)
    return bool(steps) and (all(step > 0 for step in steps) or all(step < 0 for step in steps))


def _alternating(points: Sequence[float], length: int) -> bool:
    steps = _steps(points, length)
    return bool(steps) and all(one * two < 0 for one, two in pairwise(steps))


def _steps(points: Sequence[float], length: int) -> list[float]:
    recent = points[-length:]
    return [two - one for one, two in pairwise(recent)] if len(recent) == length else []


def _beyond_on_both_sides(points: Sequence[float], length: int) -> bool:
    recent = points[-length:]
    return len(recent) == length and all(abs(p) > 1 for p in recent) and min(recent) < 0 < max(recent)


_PATTERNS: dict[RunRule, Callable[[Sequence[float]], bool]] = {
    RunRule.TWO_OF_THREE_BEYOND_2_SIGMA: lambda points: _several_beyond(points, several=2, window=3, sigma=2),
    RunRule.FOUR_OF_FIVE_BEYOND_1_SIGMA: lambda points: _several_beyond(points, several=4, window=5, sigma=1),
    RunRule.EIGHT_ON_ONE_SIDE: lambda points: _on_one_side(points, 8),
    RunRule.NINE_ON_ONE_SIDE: lambda points: _on_one_side(points, 9),
    RunRule.SIX_RISING_OR_FALLING: lambda points: _rising_or_falling(points, 6),
    RunRule.FOURTEEN_ALTERNATING: lambda points: _alternating(points, 14),
    RunRule.EIGHT_BEYOND_1_SIGMA_BOTH_SIDES: lambda points: _beyond_on_both_sides(points, 8),
}
