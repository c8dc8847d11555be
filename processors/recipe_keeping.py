"""Which recipes are to be loaded, in which order, and which may make room.

    first      what PLCs have selected
    then       what frames wait for, then what PLCs announce, then what parts on the belt may still need
    then       others, up to `at_most` recipes in all: those used last, then in the order of the plant file

What stands in the first two lines is kept whatever `at_most` says: it is bounded by the stations and by what lies on their belts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence


class RecipeKeeping:
    """Keeps track of what is wanted. Times are monotonic s; recipes are named `name@revision`, unknown names are passed over.

    `belt_s`: how long a part may still come after its recipe was selected or used last. `ahead`: recipes are loaded before anybody asks.
    """

    def __init__(self, *, recipes: Sequence[str], at_most: int, belt_s: float, ahead: bool) -> None:
        self._order = {recipe: place for place, recipe in enumerate(recipes)}
        self._at_most = at_most
        self._belt_s = belt_s
        self._ahead = ahead
        self._selected: tuple[str, ...] = ()
        self._coming: tuple[str, ...] = ()
        self._frames: Counter[str] = Counter()
        self._used_at_s: dict[str, float] = {}

    @property
    def selected(self) -> tuple[str, ...]:
        """What PLCs have selected, as far as it is known here."""
        return self._selected

    def wish(self, *, selected: Iterable[str], coming: Iterable[str], now_s: float) -> None:
        """What PLCs have selected, and what they announce, now."""
        for recipe in self._selected:  # until now
            self._used_at_s[recipe] = now_s
        self._selected = tuple(sorted(set(selected) & self._order.keys()))
        self._coming = tuple(sorted(set(coming) & self._order.keys() - set(self._selected)))
        for recipe in self._selected:
            self._used_at_s[recipe] = now_s

    def begin(self, recipe: str, *, now_s: float) -> None:
        """A frame needs the recipe, until `end`."""
        self._frames[recipe] += 1
        self._used_at_s[recipe] = now_s

    def end(self, recipe: str, *, now_s: float) -> None:
        """A frame is done with the recipe."""
        self._frames[recipe] -= 1
        if not self._frames[recipe]:
            del self._frames[recipe]
        self._used_at_s[recipe] = now_s

    def needed(self, *, now_s: float) -> tuple[str, ...]:
        """What has to be loaded at once, the most urgent first."""
        waiting = sorted(self._frames, key=self._recency)
        on_the_belt = sorted(
            (recipe for recipe, at_s in self._used_at_s.items() if now_s - at_s <= self._belt_s), key=self._recency
        )
        return tuple(dict.fromkeys([*self._selected, *waiting, *self._coming, *on_the_belt]))

    def wanted(self, *, now_s: float) -> tuple[str, ...]:
        """`needed`, and after it what else is kept; everything that is not in here may go."""
        needed = self.needed(now_s=now_s)
        used = sorted(self._used_at_s, key=self._recency)
        others = [recipe for recipe in (*used, *(self._order if self._ahead else ())) if recipe not in needed]
        return (*needed, *list(dict.fromkeys(others))[: max(0, self._at_most - len(needed))])

    def _recency(self, recipe: str) -> tuple[float, int]:
        return -self._used_at_s.get(recipe, 0.0), self._order[recipe]
