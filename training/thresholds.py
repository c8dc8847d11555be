"""The score from which a part is bad, for the costs of an escape and of overkill. No torch."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from training.figures import wilson

TAIL_SHARE, LEAST_TAIL_SHARE, _TAIL_PARTS = 0.2, 0.05, 20
"""A fifth of the parts is taken for the tail; of more than 100 parts only the highest 20, down to a twentieth: nearer to what is wanted."""
WANTED_OVERKILL_SHARE = 0.01
_EDGE = 0.05  # how far outside all scores a threshold may lie that passes or rejects everything
_LEAST_TAIL = 0.15
"""Least mean excess of the tail, in logits: a handful of good parts that happen to agree must not make a threshold that sits on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A score `value` from which a part is bad, the rule it comes from, and what it costs on validation."""

    value: float
    rule: str
    good: int
    bad: int
    escapes: int
    overkill: int

    def as_json(self) -> dict[str, Any]:
        """With the 95 % Wilson intervals of both shares."""
        return {
            **asdict(self),
            "escapes_share_95": wilson(self.escapes, self.bad),
            "overkill_share_95": wilson(self.overkill, self.good),
        }


def choose_threshold(
    scores: Sequence[float], bad: Sequence[bool], *, escape_cost: float, overkill_cost: float, otherwise: float
) -> Threshold:
    """By costs where validation has good and bad parts, by the tail of the good ones where it has no bad, else `otherwise`."""
    values, truth = np.asarray(scores, float), np.asarray(bad, bool)
    if truth.any() and not truth.all():
        value, rule = _by_costs(values, truth, escape_cost, overkill_cost), "least cost on validation"
    elif len(values) and not truth.any():
        value, rule = above_good(scores), f"tail of {len(values)} good parts, {WANTED_OVERKILL_SHARE:.0%} above it"
    else:
        value, rule = otherwise, "no good part in validation: the threshold of single places"
    rejected = values >= value
    return Threshold(
        value=value,
        rule=rule,
        good=int((~truth).sum()),
        bad=int(truth.sum()),
        escapes=int((truth & ~rejected).sum()),
        overkill=int((~truth & rejected).sum()),
    )


def above_good(scores: Sequence[float]) -> float:
    """A score that about 1 % of good parts reach, from good parts alone; never below the highest of fewer than 100.

    The highest logits are taken as an exponential tail (Pickands-Balkema-de Haan with shape 0), its mean excess is raised by one
    standard error, since few parts are known, and the tail is followed out to the wanted share. So few parts give a higher
    threshold. Of many parts, no more than the wanted share lies above it.
    """
    logits = np.sort(_logit(np.asarray(scores, float)))
    share = float(np.clip(_TAIL_PARTS / len(logits), LEAST_TAIL_SHARE, TAIL_SHARE))
    tail = max(math.ceil(len(logits) * share), 1)
    start = float(logits[-tail - 1]) if len(logits) > tail else float(logits[0])
    excess = max(float(np.mean(logits[-tail:] - start)), _LEAST_TAIL) * (1 + 1 / math.sqrt(tail))
    reached = start + excess * math.log(share / WANTED_OVERKILL_SHARE)
    highest = float(logits[-1 - int(len(logits) * WANTED_OVERKILL_SHARE)]) + excess / (tail + 1)
    return 1 / (1 + math.exp(-max(reached, highest)))


def _by_costs(
    values: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], escape_cost: float, overkill_cost: float
) -> float:
    """The middle of the widest gap between scores among those of least cost."""
    order = np.argsort(values)
    ordered, bad = values[order], truth[order]
    edges = np.concatenate([[ordered[0] - _EDGE], ordered, [ordered[-1] + _EDGE]])
    escapes = np.concatenate([[0], np.cumsum(bad)])
    overkill = np.concatenate([np.cumsum((~bad)[::-1])[::-1], [0]])
    costs = escape_cost * escapes + overkill_cost * overkill
    widths = edges[1:] - edges[:-1]
    costs = np.where(widths > 0, costs, np.inf)
    best = np.flatnonzero(costs <= costs.min() + 1e-9)
    chosen = int(best[np.argmax(widths[best])])
    low, high = float(edges[chosen]), float(edges[chosen + 1])
    middle = (low + high) / 2
    return middle if middle > low else high  # neighbouring floats have no middle


def _logit(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    clipped = np.clip(values, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))
