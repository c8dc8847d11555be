"""Splits that do not leak: what belongs together stays on one side.

Together belong pictures of one `group`, pictures that compare with one reference, and near-duplicates: a difference hash of 256 bits (N.
Krawetz, "Kind of like that", 2013) that agrees to 6 bits, confirmed by small pictures whose mean difference is at most 2
grey levels. Without the second test all pictures of a smooth surface would be one.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from random import Random

import cv2
import numpy as np
import numpy.typing as npt

from training.labels import Sample
from training.pictures import read_picture

MOST_BITS = 6
MOST_DIFFERENCE_GREY = 2.0
_SIDE = 16
VALIDATION_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Indices of both sides, and by what the samples were kept together (`group` or, with a single group, `image`)."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    by: str
    clusters: int
    duplicates: int
    shared: int

    def lines(self) -> list[str]:
        """The check, for a person."""
        said = [
            f"split by {self.by}: {len(self.train)} images to train, {len(self.validation)} to validate, {self.clusters} "
            f"clusters, {self.duplicates} pairs of near-duplicates kept together",
            f"check: {self.shared} clusters on both sides" + (" (no leak)" if not self.shared else ": LEAK"),
        ]
        if self.by == "image":
            said.append(
                "warning: all images are of one group, so validation has seen the group: its figures are too good for "
                "other groups; give each part, board or batch its own `group`"
            )
        return said


def split(samples: Sequence[Sample], *, seed: int) -> Split:
    """Puts about a fifth of the images, in whole clusters, on the side of validation; bad and good ones alike."""
    pairs = near_duplicates([fingerprint(sample) for sample in samples])
    groups: list[Hashable] = [sample.group or None for sample in samples]
    by = "group" if any(groups) else "near-duplicates"
    clusters = joined(groups, pairs)
    if len(set(clusters)) < 2:
        by, clusters = "image", joined([None] * len(samples), pairs)
    if len(set(clusters)) < 2:
        by, clusters = "image", list(range(len(samples)))
    held = assign(clusters, [bool(sample.bad) for sample in samples], seed=seed)
    shared = {clusters[i] for i in held} & {clusters[i] for i in range(len(samples)) if i not in held}
    return Split(
        train=tuple(i for i in range(len(samples)) if i not in held),
        validation=tuple(sorted(held)),
        by=by,
        clusters=len(set(clusters)),
        duplicates=len(pairs),
        shared=len(shared),
    )


def joined(groups: Sequence[Hashable], pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Cluster of each sample: equal groups (None is nobody's) and linked pairs are together (union-find)."""
    parent = list(range(len(groups)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    first: dict[Hashable, int] = {}
    for index, group in enumerate(groups):
        if group is not None:
            parent[root(index)] = root(first.setdefault(group, index))
    for a, b in pairs:
        parent[root(a)] = root(b)
    return [root(index) for index in range(len(groups))]


def assign(clusters: Sequence[int], bad: Sequence[bool], *, seed: int) -> frozenset[int]:
    """Samples of the clusters that validate. Each side keeps at least one cluster; bad ones are shared out first.

    Clusters are taken in random order while they bring the counts of good and bad nearer to `VALIDATION_SHARE`.
    """
    members: dict[int, list[int]] = {}
    for index, cluster in enumerate(clusters):
        members.setdefault(cluster, []).append(index)
    order = sorted(members)
    Random(seed).shuffle(order)
    counts = {c: np.array([sum(not bad[i] for i in members[c]), sum(bad[i] for i in members[c])]) for c in order}
    total = np.sum(list(counts.values()), axis=0)
    wanted, taken, held = total * VALIDATION_SHARE, np.zeros(2), list[int]()

    def distance(count: npt.NDArray[np.float64]) -> float:
        return float(np.sum(np.abs(count - wanted) / np.maximum(total, 1)))

    for cluster in order:
        if len(held) + 1 < len(order) and distance(taken + counts[cluster]) < distance(taken):
            taken += counts[cluster]
            held.append(cluster)
    if not held and len(order) > 1:
        held = [min(order, key=lambda cluster: len(members[cluster]))]
    return frozenset(index for cluster in held for index in members[cluster])


def fingerprint(sample: Sample) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Bits of the difference hash (bool [256]) and the small grey picture they are confirmed by (float32 [64, 64])."""
    picture = read_picture(sample.image)
    if picture is None:
        raise OSError(f"{sample.image}: does not decode any more")
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    thumb = cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    return (small[:, 1:] > small[:, :-1]).ravel(), thumb


def near_duplicates(
    prints: Sequence[tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]],
) -> list[tuple[int, int]]:
    """Pairs of indices that show the same picture."""
    bits = np.array([one for one, _ in prints], np.float32) * 2 - 1
    pairs = []
    for index in range(1, len(prints)):
        different = (bits.shape[1] - bits[:index] @ bits[index]) / 2
        for other in np.flatnonzero(different <= MOST_BITS).tolist():
            if float(np.mean(np.abs(prints[index][1] - prints[other][1]))) <= MOST_DIFFERENCE_GREY:
                pairs.append((other, index))
    return pairs
