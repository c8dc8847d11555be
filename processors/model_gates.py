"""Gates: what a candidate has to reach on the frozen test pictures before it is released, beside the version that judges parts now.

Both are measured on the same pictures, which neither was trained on. Poor labels in training do not open a gate: the test side keeps
its pictures and labels from dataset to dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.records import Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured of one model. Ratios are 0 to 1; `cpu_ms_per_image` is CPU time with decoding; `parity` a score difference."""

    good: int
    bad: int
    escapes_ratio: float | None
    overkill_ratio: float | None
    f1_by_class: Mapping[str, float] = field(default_factory=dict)
    cpu_ms_per_image: float = 0.0
    parity: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """Limits. `more_*` and `less_*` are what the candidate may be worse than the version that judges now.

    `escapes_ratio`, `overkill_ratio` and `f1_ratio` are absolute: they hold where no version is to be compared with.
    """

    least_good: int = 5
    least_bad: int = 5
    more_escapes_ratio: float = 0.0
    more_overkill_ratio: float = 0.02
    less_f1_ratio: float = 0.02
    slower_ratio: float = 1.5
    parity: float = 1e-3
    escapes_ratio: float = 0.05
    overkill_ratio: float = 0.1
    f1_ratio: float = 0.8


def gates(candidate: Figures, champion: Figures | None, rules: GateRules) -> tuple[Gate, ...]:
    """Every gate with its value and limit; the candidate is released where all are passed.

    A figure that could not be measured passes no gate.
    """
    escapes_known = None if champion is None else champion.escapes_ratio
    overkill_known = None if champion is None else champion.overkill_ratio
    found = [
        _at_least("good_count", candidate.good, rules.least_good, "good test pictures, of too few nothing follows"),
        _at_least("bad_count", candidate.bad, rules.least_bad, "bad test pictures, of too few nothing follows"),
        _at_most("parity", candidate.parity, rules.parity, "ONNX against torch"),
        _at_most(
            "escapes_ratio",
            candidate.escapes_ratio,
            _limit(escapes_known, rules.more_escapes_ratio, rules.escapes_ratio),
            _beside(champion),
        ),
        _at_most(
            "overkill_ratio",
            candidate.overkill_ratio,
            _limit(overkill_known, rules.more_overkill_ratio, rules.overkill_ratio),
            _beside(champion),
        ),
    ]
    for name, value in sorted(candidate.f1_by_class.items()):
        known = champion.f1_by_class.get(name) if champion else None
        limit = _limit(known, -rules.less_f1_ratio, rules.f1_ratio)
        found.append(_at_least(f"f1_ratio/{name}", value, limit, _beside(champion)))
    for name in sorted(set(champion.f1_by_class) - set(candidate.f1_by_class) if champion else ()):
        found.append(_at_least(f"f1_ratio/{name}", None, rules.f1_ratio, "a class that the version in use knows"))
    if champion is not None and champion.cpu_ms_per_image > 0:
        limit = champion.cpu_ms_per_image * rules.slower_ratio
        found.append(_at_most("cpu_ms_per_image", candidate.cpu_ms_per_image, limit, _beside(champion)))
    return tuple(found)


def _limit(known: float | None, allowed: float, otherwise: float) -> float:
    return otherwise if known is None else known + allowed


def _beside(champion: Figures | None) -> str:
    return "absolute" if champion is None else "beside the version that judges parts"


def _at_most(name: str, value: float | None, limit: float, detail: str) -> Gate:
    if value is None:
        return Gate(name=name, value=1.0, limit=limit, passed=False, detail=f"not measured; {detail}")
    return Gate(name=name, value=value, limit=limit, passed=value <= limit, detail=detail)


def _at_least(name: str, value: float | None, limit: float, detail: str) -> Gate:
    if value is None:
        return Gate(name=name, value=0.0, limit=limit, passed=False, detail=f"not measured; {detail}")
    return Gate(name=name, value=value, limit=limit, passed=value >= limit, detail=detail)
