"""Splits that do not leak: what belongs together stays on one side.

Together belong pictures of one `group` (where a row has none: pictures that compare with one reference), and near-duplicates: a difference
hash of 256 bits (N. Krawetz, "Kind of like that", 2013) that agrees to 6 bits, confirmed by small pictures whose mean difference is at
most 2 grey levels. Without the second test all pictures of a smooth surface would be one.

Memory: about 1 KB a picture. Hashes that agree to 6 bits agree wholly in one of 7 parts (pigeonhole), so only pictures with an equal part
are compared.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

import cv2
import numpy as np
import numpy.typing as npt

from training.labels import Sample
from training.picture_files import read_picture

MOST_BITS = 6
MOST_DIFFERENCE_GREY = 2.0
_SIDE = 16
_THUMB_PX = 32
_PARTS = MOST_BITS + 1
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
                "warning: the images are of one group, or all good or all bad ones are, so validation has seen the group: its "
                "figures are too good for other groups; give each part, board or batch its own `group`"
            )
        return said


def split(samples: Sequence[Sample], *, seed: int) -> Split:
    """Puts about a fifth of the images, in whole clusters, on the side of validation; bad and good ones alike."""
    pairs = near_duplicates(fingerprint(sample) for sample in samples)
    groups: list[Hashable] = [sample.group or sample.reference for sample in samples]
    by = "group" if any(groups) else "near-duplicates"
    clusters = joined(groups, pairs)
    if len(set(clusters)) < 2:
        by, clusters = "image", joined([None] * len(samples), pairs)
    if len(set(clusters)) < 2:
        by, clusters = "image", list(range(len(samples)))
    bad = [bool(sample.bad) for sample in samples]
    held = assign(clusters, bad, seed=seed)
    if by != "image" and _lacks(bad, held):
        by, clusters = "image", joined([None] * len(samples), pairs)
        held = assign(clusters, bad, seed=seed)
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


def _lacks(bad: Sequence[bool], held: frozenset[int]) -> bool:
    """Whether nothing is left to learn of a kind, good or bad, that there is."""
    left = {bad[index] for index in range(len(bad)) if index not in held}
    return left != set(bad)


Print = tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8]]


def fingerprint(sample: Sample) -> Print:
    """Bits of the difference hash (bool [256]) and the small grey picture they are confirmed by (uint8 [32, 32])."""
    picture = read_picture(sample.image)
    if picture is None:
        raise OSError(f"{sample.image}: does not decode any more")
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    thumb = cv2.resize(grey, (_THUMB_PX, _THUMB_PX), interpolation=cv2.INTER_AREA)
    return (small[:, 1:] > small[:, :-1]).ravel(), np.asarray(thumb, np.uint8)


def near_duplicates(prints: Iterable[Print]) -> list[tuple[int, int]]:
    """Pairs of indices that show the same picture; of those that hang together anyhow, so many as join them (a spanning forest)."""
    kept = [(np.packbits(bits), thumb) for bits, thumb in prints]
    hashes, thumbs = np.stack([packed for packed, _ in kept]), np.stack([thumb for _, thumb in kept])
    cluster = np.arange(len(kept))
    with_part: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    pairs: list[tuple[int, int]] = []
    for index, packed in enumerate(hashes):
        parts = np.array_split(np.unpackbits(packed), _PARTS)
        members = [with_part[number, part.tobytes()] for number, part in enumerate(parts)]
        candidates = np.unique(np.concatenate([np.array(some, np.int64) for some in members]))
        different = np.bitwise_count(hashes[candidates] ^ packed).sum(1)
        alike, different = candidates[different <= MOST_BITS], different[different <= MOST_BITS]
        apart = np.abs(thumbs[alike].astype(np.int16) - thumbs[index]).mean((1, 2))
        for other in alike[apart <= MOST_DIFFERENCE_GREY].tolist():
            if cluster[other] != cluster[index]:
                pairs.append((other, index))
                cluster[cluster == cluster[index]] = cluster[other]
        if not np.any(
            (apart == 0) & (different == 0)
        ):  # what repeats a picture exactly is near to nothing else than that is
            for some in members:
                some.append(index)
    return pairs
