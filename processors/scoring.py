"""Scores found defects against labels, as the literature on bare boards does.

Matching is one to one at an intersection over union above 0.33, as in DeepPCB (Tang et al., "Online PCB defect detector
on a new PCB defect dataset", 2019): a label and a finding may be used once. Pairs are chosen greedily, the most certain
finding first, each taking the free label that it overlaps most (PASCAL VOC, Everingham et al., IJCV 2010).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Box = tuple[int, int, int, int]

MATCHING_OVERLAP_RATIO = 0.33


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A defect as a person marked it: class and half-open box in px."""

    class_name: str
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A defect as the line found it. `score` orders the findings; greater is more certain."""

    class_name: str
    box: Box
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What came of a set of findings.

    Attributes:
        hits: findings that match a label.
        false: findings that match none.
        missed: labels that no finding matches.
    """

    hits: int = 0
    false: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        """Share of the findings that are right; 1 where there is none."""
        return self.hits / (self.hits + self.false) if self.hits + self.false else 1.0

    @property
    def recall(self) -> float:
        """Share of the labels that were found; 1 where there is none."""
        return self.hits / (self.hits + self.missed) if self.hits + self.missed else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 where there is nothing to find and nothing was found."""
        total = 2 * self.hits + self.false + self.missed
        return 2 * self.hits / total if total else 1.0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(hits=self.hits + other.hits, false=self.false + other.false, missed=self.missed + other.missed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of many images.

    Attributes:
        located: a finding counts when its place is right, whatever its class (class-agnostic).
        classified: it counts when place and class are right, all classes together (micro average).
        by_class: the same for every class that was labelled or found.
    """

    located: Counts
    classified: Counts
    by_class: dict[str, Counts]

    @property
    def mean_f1(self) -> float:
        """Mean of the classes' F1 (macro average); 1 without classes."""
        return sum(counts.f1 for counts in self.by_class.values()) / len(self.by_class) if self.by_class else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCounts:
    """Verdicts against the truth, in parts.

    Attributes:
        good, bad: parts by their truth.
        escapes: bad parts that passed.
        overkill: good parts that were rejected.
    """

    good: int
    bad: int
    escapes: int
    overkill: int


def overlap_ratio(a: Box, b: Box) -> float:
    """Intersection over union of two half-open boxes, 0 to 1."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def match(findings: Sequence[Finding], labels: Sequence[Label]) -> list[int | None]:
    """For each finding the index of its label, or None. No label is used twice; classes are not looked at."""
    free = set(range(len(labels)))
    matched: list[int | None] = [None] * len(findings)
    for index in sorted(range(len(findings)), key=lambda i: -findings[i].score):
        overlaps = [(overlap_ratio(findings[index].box, labels[label].box), -label) for label in free]
        best, chosen = max(overlaps, default=(0.0, 0))
        if best > MATCHING_OVERLAP_RATIO:
            matched[index] = -chosen
            free.remove(-chosen)
    return matched


def score(images: Iterable[tuple[Sequence[Finding], Sequence[Label]]]) -> Score:
    """Scores the findings of many images against their labels.

    Class-wise, each class is matched for itself, so a finding of another class cannot take its label.
    """
    located, by_class = Counts(), dict[str, Counts]()
    for findings, labels in images:
        located += _counts(findings, labels)
        for name in {f.class_name for f in findings} | {label.class_name for label in labels}:
            of_class = _counts(
                [finding for finding in findings if finding.class_name == name],
                [label for label in labels if label.class_name == name],
            )
            by_class[name] = by_class.get(name, Counts()) + of_class
    classified = sum(by_class.values(), Counts())
    return Score(located=located, classified=classified, by_class=dict(sorted(by_class.items())))


def score_parts(parts: Iterable[tuple[bool, bool]]) -> PartCounts:
    """Counts escapes and overkill from (is bad in truth, was rejected) of each part."""
    good = bad = escapes = overkill = 0
    for is_bad, rejected in parts:
        good, bad = good + (not is_bad), bad + is_bad
        escapes, overkill = escapes + (is_bad and not rejected), overkill + (rejected and not is_bad)
    return PartCounts(good=good, bad=bad, escapes=escapes, overkill=overkill)


def _counts(findings: Sequence[Finding], labels: Sequence[Label]) -> Counts:
    hits = sum(label is not None for label in match(findings, labels))
    return Counts(hits=hits, false=len(findings) - hits, missed=len(labels) - hits)
