"""On which side of a dataset each picture is: nothing that belongs together is on both, and a side is kept for ever.

Together belong pictures of one part, of one batch, and near-duplicates (`training.splits`). A picture that an earlier dataset had
keeps its side, so that no model is ever tested on what an earlier one was trained on; what belongs to it goes with it. A new
picture that belongs to pictures of both sides is on neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from training.dataset_rows import DatasetRow, Side
from training.splits import assign, joined

Sides = list[Side | None]
Pairs = Sequence[tuple[int, int]]


def sides(rows: Sequence[DatasetRow], pairs: Pairs, *, earlier: Mapping[str, Side], seed: int) -> Sides:
    """The side of each row, None for neither. `pairs` are indices of near-duplicates, `earlier` the sides of older pictures by digest.

    About a fifth of the new clusters is for testing, good and bad alike; the seed decides which.
    """
    clusters = clusters_of(rows, pairs)
    known: dict[int, set[Side]] = {}
    for row, cluster in zip(rows, clusters, strict=True):
        if row.digest in earlier:
            known.setdefault(cluster, set()).add(earlier[row.digest])
    fresh = [index for index, cluster in enumerate(clusters) if cluster not in known]
    bad = [rows[index].classes != ("good",) for index in fresh]
    tested = assign([clusters[index] for index in fresh], bad, seed=seed)
    of_fresh: dict[int, Side] = {index: "test" if place in tested else "train" for place, index in enumerate(fresh)}
    return [of_fresh.get(index) or _inherited(row, known[clusters[index]], earlier) for index, row in enumerate(rows)]


def clusters_of(rows: Sequence[DatasetRow], pairs: Pairs) -> list[int]:
    """The cluster of each row: equal part, equal group, equal batch, or near-duplicates, over any number of steps."""
    links = list(pairs)
    for names in ([row.group for row in rows], [row.batch for row in rows]):
        first: dict[str, int] = {}
        links += [(first.setdefault(name, index), index) for index, name in enumerate(names) if name]
    return joined([row.part or None for row in rows], links)


def leaks(rows: Sequence[DatasetRow], pairs: Pairs) -> int:
    """How many clusters have pictures on both sides; 0 where nothing leaks."""
    seen: dict[int, set[Side]] = {}
    for row, cluster in zip(rows, clusters_of(rows, pairs), strict=True):
        seen.setdefault(cluster, set()).add(row.split)
    return sum(len(found) > 1 for found in seen.values())


def _inherited(row: DatasetRow, known: set[Side], earlier: Mapping[str, Side]) -> Side | None:
    """Where what was apart turns out to belong together, the test side stays as it is and the rest is left out."""
    if len(known) == 1:
        return next(iter(known))
    return "test" if earlier.get(row.digest) == "test" else None
