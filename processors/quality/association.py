"""Where the defect rate differs: each level of each label (batch, tool, shift, ...) against all other parts.

Fisher's exact test of each two-by-two table (two-sided), Benjamini-Hochberg over all of them, and the risk ratio with the logarithmic
interval of D. Katz and others (Biometrics 34, 1978; 0.5 is added to the counts where one is 0, so that the ratio stays finite). A pointer
with evidence, never a claim of cause: labels that go together (a batch was run on one tool) are all found, and the counts say so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from scipy.stats import fisher_exact, norm

from processors.quality.false_discovery import adjusted_p_values

INTERVAL_CONFIDENCE = 0.95
FALSE_DISCOVERY_RATE = 0.05
FEWEST_PARTS = 5  # of a level, and of the others: fewer can show nothing


class Part(NamedTuple):
    """One decided part, and its labels: name of the label and level, such as `tool` and `T3`."""

    bad: bool
    labels: Mapping[str, str]


class RiskRatio(NamedTuple):
    """Share of bad parts at the level over that of the others, with its confidence interval."""

    value: float
    lower: float
    upper: float


class Association(NamedTuple):
    """What one level shows. `adjusted_p` holds for all levels looked at together; `pointed_at` when it is <= 0.05."""

    label: str
    level: str
    bad: int
    parts: int
    other_bad: int
    other_parts: int
    risk_ratio: RiskRatio
    p_value: float
    adjusted_p: float

    @property
    def pointed_at(self) -> bool:
        """Whether the level is worth looking at: at most 5 % of all that are pointed at are so by chance."""
        return self.adjusted_p <= FALSE_DISCOVERY_RATE


def associations(parts: Iterable[Part]) -> list[Association]:
    """Every level of every label with enough parts, the strongest evidence first. The order of the parts does not matter.

    The others of a level are the parts that carry the same label with another level; a part without the label is not among them.
    """
    bad: dict[str, Counter[str]] = {}
    seen: dict[str, Counter[str]] = {}
    for part in parts:
        for label, level in part.labels.items():
            seen.setdefault(label, Counter())[level] += 1
            bad.setdefault(label, Counter())[level] += part.bad
    return associations_of_counts(
        {label: {level: (bad[label][level], levels[level]) for level in levels} for label, levels in seen.items()}
    )


def associations_of_counts(
    counts: Mapping[str, Mapping[str, tuple[int, int]]], *, tested: Container[tuple[str, str]] | None = None
) -> list[Association]:
    """The same from sums: label -> level -> (bad parts, parts). Where `tested` labels and levels are given, only those are looked at; parts
    of the rest are among the others all the same."""
    found = []
    for label, levels in sorted(counts.items()):
        all_bad, all_parts = sum(bad for bad, _ in levels.values()), sum(parts for _, parts in levels.values())
        for level, (bad, parts) in sorted(levels.items()):
            others = all_parts - parts
            if parts < FEWEST_PARTS or others < FEWEST_PARTS or not (tested is None or (label, level) in tested):
                continue
            found.append((label, level, bad, parts, all_bad - bad, others))
    p_values = [_p_value(*sums) for _, _, *sums in found]
    rows = [
        Association(*sums, _risk_ratio(*sums[2:]), p_value, adjusted)
        for sums, p_value, adjusted in zip(found, p_values, adjusted_p_values(p_values), strict=True)
    ]
    return sorted(rows, key=lambda row: (row.p_value, -row.risk_ratio.value, row.label, row.level))


def _p_value(bad: int, parts: int, other_bad: int, other_parts: int) -> float:
    table = [[bad, parts - bad], [other_bad, other_parts - other_bad]]
    return float(fisher_exact(table).pvalue)


def _risk_ratio(bad: int, parts: int, other_bad: int, other_parts: int) -> RiskRatio:
    more = 0.5 if bad == 0 or other_bad == 0 else 0.0
    a, n, b, m = bad + more, parts + more, other_bad + more, other_parts + more
    ratio = (a / n) / (b / m)
    reach = float(norm.isf((1 - INTERVAL_CONFIDENCE) / 2)) * math.sqrt(1 / a - 1 / n + 1 / b - 1 / m)
    return RiskRatio(ratio, ratio * math.exp(-reach), ratio * math.exp(reach))
