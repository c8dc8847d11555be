"""Whether a line calls more (or fewer) parts NOT_OK than it did, in several batches running: the model may see wrongly what is as it was.

One bad batch is what the line is for, so it never counts alone: the newest `mix_batches` batches must all lie beyond the exact binomial
limits of the baseline (`processors.spc.count_limits`), on the same side, and differ by a factor of two. A process that stays changed over
as many batches looks the same from here; people who look at its parts tell the two apart (`processors.disagreement`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from scipy.stats import binom

from processors.spc.count_limits import binomial_limits
from schemas.alerts import DriftEvidence
from schemas.plant import RetrainingSettings
from schemas.reasons import VerdictValue
from schemas.verdicts import Verdict

STATISTIC = "not_ok_ratio"
CONFIDENCE = 0.9973
LEAST_FACTOR = 2.0
EXAMPLES = 5


@dataclass(slots=True)
class _Batch:
    name: str
    first_at_ns: int
    parts: int = 0
    bad: int = 0
    examples: deque[str] = field(default_factory=lambda: deque(maxlen=EXAMPLES))


class VerdictMix:
    """The decided parts of one station and recipe under one set of models: a baseline, and the newest batches."""

    def __init__(self, *, settings: RetrainingSettings) -> None:
        self._settings = settings
        self._parts = 0
        self._bad = 0
        self._current: _Batch | None = None
        self._finished: deque[_Batch] = deque(maxlen=settings.mix_batches)
        self._side = 0
        self.moved_since_ns = 0
        """When the first of the batches began that lie on the side on which the newest one lies."""

    def add(self, verdict: Verdict, *, at_ns: int) -> None:
        """Takes the line's verdict on a part: into the baseline until that is complete, then into its batch. A batch ends where another
        begins; one of fewer than `mix_batch_parts` says nothing. Parts without a decision or a batch do not count."""
        if verdict.verdict is VerdictValue.NOT_DECIDABLE or not verdict.batch:
            return
        is_bad = verdict.verdict is VerdictValue.NOT_OK
        if self._parts < self._settings.baseline_parts:
            self._parts, self._bad = self._parts + 1, self._bad + is_bad
            return
        batch = self._current
        if batch is None or batch.name != verdict.batch:
            if batch is not None and batch.parts >= self._settings.mix_batch_parts:
                self._finish(batch)
            batch = self._current = _Batch(name=verdict.batch, first_at_ns=at_ns)
        batch.parts, batch.bad = batch.parts + 1, batch.bad + is_bad
        if is_bad:
            batch.examples.append(verdict.id)

    def evidence(self, *, since_ns: int) -> DriftEvidence | None:
        """What shows that the mix has moved for good; None where it has not, or where its batches began before `since_ns`."""
        batches = list(self._finished)
        if len(batches) < self._settings.mix_batches or batches[0].first_at_ns <= since_ns:
            return None
        baseline = self._baseline_ratio
        if self._side == 0 or any(_side(batch, baseline) != self._side for batch in batches):
            return None
        parts, bad = sum(batch.parts for batch in batches), sum(batch.bad for batch in batches)
        above = self._side > 0
        return DriftEvidence(
            statistic=STATISTIC,
            baseline=baseline,
            observed=bad / parts,
            threshold=baseline * LEAST_FACTOR if above else baseline / LEAST_FACTOR,
            sample_size=parts,
            p_value=float(binom.sf(bad - 1, parts, baseline) if above else binom.cdf(bad, parts, baseline)),
            examples=tuple(example for batch in batches for example in batch.examples)[-EXAMPLES:],
        )

    @property
    def _baseline_ratio(self) -> float:
        """After Laplace: a baseline without a bad part is no promise of none."""
        return (self._bad + 1) / (self._parts + 2)

    def _finish(self, batch: _Batch) -> None:
        self._finished.append(batch)
        side = _side(batch, self._baseline_ratio)
        if side != self._side:
            self._side, self.moved_since_ns = side, batch.first_at_ns


def _side(batch: _Batch, baseline: float) -> int:
    """1 where clearly more parts are bad than in the baseline, -1 where fewer are, 0 else."""
    limits = binomial_limits(parts=batch.parts, proportion=baseline, confidence=CONFIDENCE)
    ratio = batch.bad / batch.parts
    if batch.bad > limits.upper and ratio >= baseline * LEAST_FACTOR:
        return 1
    return -1 if batch.bad < limits.lower and ratio <= baseline / LEAST_FACTOR else 0
