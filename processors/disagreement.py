"""How often people who look at a part again disagree with what the line said of it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from processors.part_state import PartVisit
from schemas.alerts import DriftEvidence
from schemas.plant import RetrainingSettings
from schemas.reasons import VerdictValue
from schemas.verdicts import Verdict

STATISTIC = "review_disagreement_ratio"
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class _Reviewed:
    verdict_id: str
    revision: int
    disagrees: bool
    at_ns: int


class Disagreement:
    """The parts of one station and model that were reviewed last, each by its newest review."""

    def __init__(self, *, settings: RetrainingSettings) -> None:
        self._settings = settings
        self._parts: OrderedDict[PartVisit, _Reviewed] = OrderedDict()

    def add(self, verdict: Verdict, *, line: VerdictValue, at_ns: int) -> bool:
        """Takes a revision made by a review; `line` is what the line itself had said. False where it says nothing about a model.

        Where one of the two could not decide there is nothing to disagree about.
        """
        visit = PartVisit(verdict.station, verdict.part_id, verdict.visit)
        known = self._parts.get(visit)
        if VerdictValue.NOT_DECIDABLE in (verdict.verdict, line) or (known and known.revision >= verdict.revision):
            return False
        self._parts[visit] = _Reviewed(verdict.id, verdict.revision, verdict.verdict is not line, at_ns)
        self._parts.move_to_end(visit)
        if len(self._parts) > self._settings.minimum_reviews:
            self._parts.popitem(last=False)
        return True

    def confirms(self, *, since_ns: int) -> bool:
        """Whether people looked at enough parts after `since_ns`, and agree with the line."""
        parts = [part for part in self._parts.values() if part.at_ns > since_ns]
        disagreeing = sum(part.disagrees for part in parts)
        enough = len(parts) >= self._settings.minimum_reviews
        return enough and disagreeing / len(parts) < self._settings.disagreement_ratio

    def evidence(self, *, since_ns: int) -> DriftEvidence | None:
        """What shows that people disagree too often; None where they do not, or too few parts were reviewed after `since_ns`."""
        parts = [part for part in self._parts.values() if part.at_ns > since_ns]
        if len(parts) < self._settings.minimum_reviews:
            return None
        disagreeing = [part.verdict_id for part in parts if part.disagrees]
        ratio = len(disagreeing) / len(parts)
        if ratio < self._settings.disagreement_ratio:
            return None
        return DriftEvidence(
            statistic=STATISTIC,
            baseline=0.0,
            observed=ratio,
            threshold=self._settings.disagreement_ratio,
            sample_size=len(parts),
            examples=tuple(disagreeing[-EXAMPLES:]),
        )
