"""Run rules on standardised points: Western Electric (Statistical Quality Control Handbook, 1956) and Nelson.

L. S. Nelson, "The Shewhart Control Chart: Tests for Special Causes", Journal of Quality Technology 16 (4), 1984. Each rule costs false
alarms: average run lengths in control stand in docs/statistics.md and come from `run_rule_lengths`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from itertools import pairwise

LONGEST_WINDOW = 15


class RunRule(StrEnum):
    """A pattern of the newest points, in standard deviations from the centre."""

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
    """The chosen rules over a stream of standardised points; remembers the newest 15."""

    def __init__(self, rules: Iterable[RunRule]) -> None:
        self._rules = tuple(dict.fromkeys(rules))
        self._newest: deque[float] = deque(maxlen=LONGEST_WINDOW)

    def add(self, score: float) -> tuple[RunRule, ...]:
        """Takes a point and gives the rules that it completes, in the order they were chosen."""
        self._newest.append(score)
        points = list(self._newest)
        return tuple(rule for rule in self._rules if _PATTERNS[rule](points))

    def restart(self) -> None:
        """Forgets the points: a pattern does not reach across a new baseline or a repaired cause."""
        self._newest.clear()


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


def _within(points: Sequence[float], length: int) -> bool:
    recent = points[-length:]
    return len(recent) == length and all(abs(p) < 1 for p in recent)


def _beyond_on_both_sides(points: Sequence[float], length: int) -> bool:
    recent = points[-length:]
    return len(recent) == length and all(abs(p) > 1 for p in recent) and min(recent) < 0 < max(recent)


_PATTERNS: dict[RunRule, Callable[[Sequence[float]], bool]] = {
    RunRule.BEYOND_3_SIGMA: lambda points: abs(points[-1]) > 3,
    RunRule.TWO_OF_THREE_BEYOND_2_SIGMA: lambda points: _several_beyond(points, several=2, window=3, sigma=2),
    RunRule.FOUR_OF_FIVE_BEYOND_1_SIGMA: lambda points: _several_beyond(points, several=4, window=5, sigma=1),
    RunRule.EIGHT_ON_ONE_SIDE: lambda points: _on_one_side(points, 8),
    RunRule.NINE_ON_ONE_SIDE: lambda points: _on_one_side(points, 9),
    RunRule.SIX_RISING_OR_FALLING: lambda points: _rising_or_falling(points, 6),
    RunRule.FOURTEEN_ALTERNATING: lambda points: _alternating(points, 14),
    RunRule.FIFTEEN_WITHIN_1_SIGMA: lambda points: _within(points, 15),
    RunRule.EIGHT_BEYOND_1_SIGMA_BOTH_SIDES: lambda points: _beyond_on_both_sides(points, 8),
}
