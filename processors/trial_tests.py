"""Exact one-sided tests of shares, for small counts: how likely is what was seen, if nothing differed."""

from __future__ import annotations

from typing import NamedTuple

from scipy.stats import binom, hypergeom


class Share(NamedTuple):
    """`hits` of `of`."""

    hits: int
    of: int

    @property
    def ratio(self) -> float:
        """0 where there is nothing to count."""
        return self.hits / self.of if self.of else 0.0

    def __str__(self) -> str:
        return f"{self.hits} of {self.of}"


def p_above(share: Share, limit_ratio: float) -> float:
    """The chance of so many or more, if each counted with probability `limit_ratio` (binomial test)."""
    return float(binom.sf(share.hits - 1, share.of, limit_ratio)) if share.of else 1.0


def p_more(one: Share, other: Share) -> float:
    """The chance that so many or more of all that counted are among `one`, if both were alike (Fisher's exact test)."""
    if not one.of or not other.of:
        return 1.0
    return float(hypergeom.sf(one.hits - 1, one.of + other.of, one.hits + other.hits, one.of))


def p_fewer(one: Share, other: Share) -> float:
    """The chance of so few or fewer."""
    if not one.of or not other.of:
        return 1.0
    return float(hypergeom.cdf(one.hits, one.of + other.of, one.hits + other.hits, one.of))
