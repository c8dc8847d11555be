"""Pareto: categories by falling count, with their cumulative share (J. M. Juran: the vital few)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class ParetoRow(NamedTuple):
    """One category; ratios are of all counts, in [0, 1]."""

    category: str
    number: int
    ratio: float
    cumulative_ratio: float


def pareto(counts: Mapping[str, int]) -> list[ParetoRow]:
    """Rows of the categories that were counted at all; equal counts by name, so that the order is always the same."""
    ordered = sorted(((n, name) for name, n in counts.items() if n > 0), key=lambda item: (-item[0], item[1]))
    total = sum(count for count, _ in ordered)
    rows, running = [], 0
    for count, category in ordered:
        running += count
        rows.append(ParetoRow(category, count, count / total, running / total))
    return rows
