"""A run in which a model learned, as figures: how it judged before its light changed, after, and once a version that learned the new light
was promoted. Verdicts beside the truth, requests and model events in; the section `learning` of `report.json` out.

A verdict is wrong where a bad part passed (escape), or a good one did not (overkill, whether it was called NOT_OK or was not decided).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from processors.model_registry import Registry
from processors.model_state import PIN
from schemas.alerts import RetrainingTrigger
from schemas.message import NS_PER_MS
from schemas.reasons import VerdictValue
from schemas.records import ModelChange, ModelEvent

POINT_PARTS = 15
"""Consecutive parts of a point of the chart."""
LEAST_PARTS = 20
"""Of fewer parts nothing is concluded."""
_NO_STEPS = frozenset({ModelChange.TRAINING})
"""Progress, told every 15 s."""
_PHASES = {
    ModelChange.RUN_STARTED: "training",
    ModelChange.RUN_ENDED: "run ended",
    ModelChange.RELEASED: "released",
    ModelChange.SHADOWED: "shadow",
    ModelChange.CANARIED: "canary",
    ModelChange.PROMOTED: "promoted",
    ModelChange.REJECTED: "rejected",
    ModelChange.ROLLED_BACK: "rolled back",
}
"""What goes on from each step on."""
BEFORE = "before"
AS_LEARNED, LAMP_FAILED = "light as learned", "lamp failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPart:
    """One visit of a part: what the line said and when, which versions of the model looked at its views, and the truth.

    `lamp_failed`: its pictures were taken under another light than the model had first learned.
    """

    arrived_at_ns: int
    decided_at_ns: int
    verdict: VerdictValue
    versions: frozenset[int]
    is_bad: bool
    lamp_failed: bool

    @property
    def escaped(self) -> bool:
        """Bad, and passed."""
        return self.is_bad and self.verdict is VerdictValue.OK

    @property
    def overkilled(self) -> bool:
        """Good, and not passed."""
        return not self.is_bad and self.verdict is not VerdictValue.OK


def learning_figures(
    parts: Sequence[JudgedPart], events: Sequence[ModelEvent], triggers: Sequence[RetrainingTrigger], *, model: str
) -> dict[str, Any]:
    """The section `learning` as plain JSON values. `events` and `triggers` in the order of their topics; those of other models are
    passed over. `after_part` and `lamp_failed_at_part` count the visits that had come before; `promoted_version` is null where no
    version that was promoted judges parts in the end.
    """
    in_order = sorted(parts, key=lambda part: part.arrived_at_ns)
    arrivals = [part.arrived_at_ns for part in in_order]
    own = [event for event in events if event.model == model]
    champion = Registry(own).state(model).champion
    asked = next((trigger for trigger in triggers if trigger.model == model), None)
    promoted = next((e for e in own if e.change is ModelChange.PROMOTED and e.version == champion != PIN), None)
    taken_s = None if asked is None or promoted is None else _seconds(promoted.at_ns - asked.fired_at_ns)
    failed = next((number for number, part in enumerate(in_order) if part.lamp_failed), None)
    return {
        "model": model,
        "lamp_failed_at_part": failed,
        "lamp_failed_at_ns": None if failed is None else arrivals[failed],
        "trigger": None if asked is None else _asked(asked, arrivals),
        "steps": [_step(event, arrivals, asked) for event in own if event.change not in _NO_STEPS],
        "promoted_version": None if promoted is None else champion,
        "trigger_to_promoted_s": taken_s,
        "stretches": [_counted(name, some) for name, some in _stretches(in_order)],
        "points": _points(in_order),
        "phases": _phases(in_order, own),
    }


def fell_short(report: dict[str, Any]) -> tuple[str, ...]:
    """What a run of `demo-learning` did not show, in words; empty where it came through. `report`: the whole report."""
    learning = report["learning"]
    found = []
    if learning["trigger"] is None:
        found.append("no request for training was made")
    if learning["promoted_version"] is None:
        found.append("no version that was promoted judges parts in the end")
    if dropped := sum(report["frames"]["dropped"].values()):
        found.append(f"{dropped} frames were dropped")
    if undecided := report["parts"]["not_decidable"]:
        found.append(f"{undecided} parts had no verdict in time")
    if failed := report["commands"]["failed"]:
        found.append(f"{failed} verdicts did not reach the PLC in time")
    if not report["ledger"]["balanced"]:
        found.append("the ledger does not balance")
    return (*found, *_unshown(learning))


def _unshown(learning: dict[str, Any]) -> list[str]:
    """That the champion judged worse in the failing light, and its successor better than it."""
    by_name = {each["name"]: each for each in learning["stretches"] if each["parts"] >= LEAST_PARTS}
    before = next((each for name, each in by_name.items() if name.startswith(AS_LEARNED)), None)
    failed = [each for name, each in by_name.items() if name.startswith(LAMP_FAILED)]
    champion = next((each for each in failed if before and each["versions"] == before["versions"]), None)
    successor = next((each for each in failed if each["versions"] == [learning["promoted_version"]]), None)
    if before is None or champion is None:
        return [f"fewer than {LEAST_PARTS} parts were judged before the lamp failed, or after it"]
    found = []
    if champion["wrong_ratio"] <= before["wrong_ratio"]:
        found.append("the champion judged as well with the failed lamp as before")
    if learning["promoted_version"] is None:
        return found
    if successor is None:
        found.append(f"fewer than {LEAST_PARTS} parts were judged by the promoted version")
    elif successor["wrong_ratio"] >= champion["wrong_ratio"]:
        found.append("the promoted version judges no better than the one before it")
    return found


def _stretches(parts: Sequence[JudgedPart]) -> list[tuple[str, list[JudgedPart]]]:
    """Parts of one light and one version, in the order of their first ones; those without a version are of none."""
    found: dict[tuple[bool, tuple[int, ...]], list[JudgedPart]] = {}
    for part in parts:
        found.setdefault((part.lamp_failed, tuple(sorted(part.versions))), []).append(part)
    return [
        (f"{LAMP_FAILED if lamp_failed else AS_LEARNED}, {_versions(versions)}", some)
        for (lamp_failed, versions), some in found.items()
    ]


def _versions(versions: tuple[int, ...]) -> str:
    if not versions:
        return "no version answered"
    return f"version {versions[0]}" if len(versions) == 1 else f"versions {' and '.join(map(str, versions))}"


def _counted(name: str, parts: Sequence[JudgedPart]) -> dict[str, Any]:
    return {"name": name, "versions": sorted(parts[0].versions), **_counts(parts)}


def _counts(parts: Sequence[JudgedPart]) -> dict[str, Any]:
    escapes, overkill = sum(part.escaped for part in parts), sum(part.overkilled for part in parts)
    return {
        "parts": len(parts),
        "bad": sum(part.is_bad for part in parts),
        "escapes": escapes,
        "overkill": overkill,
        "wrong_ratio": round((escapes + overkill) / len(parts), 4),
    }


def _points(parts: Sequence[JudgedPart]) -> list[dict[str, Any]]:
    """Wrong verdicts along the run; what is left over at its end is a point where it is half of one at least."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(parts), POINT_PARTS):
        some = parts[start : start + POINT_PARTS]
        if len(some) * 2 >= POINT_PARTS or not found:
            found.append({"first_part": start + 1, **_counts(some)})
    return found


def _phases(parts: Sequence[JudgedPart], events: Sequence[ModelEvent]) -> list[dict[str, Any]]:
    """How long verdicts took, from a part's arrival, by what went on when it came; in the order in which it did."""
    turns = sorted((event.at_ns, _PHASES[event.change]) for event in events if event.change in _PHASES)
    found: dict[str, list[JudgedPart]] = {}
    for part in parts:
        passed = bisect_right(turns, part.arrived_at_ns, key=lambda turn: turn[0])
        found.setdefault(turns[passed - 1][1] if passed else BEFORE, []).append(part)
    return [{"name": name, "parts": len(some), **_latency_ms(some)} for name, some in found.items()]


def _latency_ms(parts: Sequence[JudgedPart]) -> dict[str, Any]:
    took = sorted((part.decided_at_ns - part.arrived_at_ns) / NS_PER_MS for part in parts)
    late = sum(part.verdict is VerdictValue.NOT_DECIDABLE for part in parts)
    shares = {"p50_ms": 0.5, "p95_ms": 0.95, "max_ms": 1.0}
    return {
        "not_decidable": late,
        **{name: round(took[min(len(took) - 1, int(len(took) * share))], 1) for name, share in shares.items()},
    }


def _asked(trigger: RetrainingTrigger, arrivals: Sequence[int]) -> dict[str, Any]:
    return {
        "id": trigger.id,
        "cause": trigger.cause,
        "at_ns": trigger.fired_at_ns,
        "after_part": bisect_right(arrivals, trigger.fired_at_ns),
        "evidence": [
            {"statistic": each.statistic, "baseline": each.baseline, "observed": each.observed,
             "threshold": each.threshold, "sample_size": each.sample_size, "p_value": each.p_value}
            for each in trigger.evidence
        ],
    }  # fmt: skip


def _step(event: ModelEvent, arrivals: Sequence[int], asked: RetrainingTrigger | None) -> dict[str, Any]:
    return {
        "change": event.change.value,
        "version": event.version,
        "at_ns": event.at_ns,
        "after_part": bisect_right(arrivals, event.at_ns),
        "since_trigger_s": None if asked is None else _seconds(event.at_ns - asked.fired_at_ns),
        "by": event.by,
        "detail": event.detail,
        "figures": dict(event.figures),
        "gates": [
            {"name": gate.name, "value": gate.value, "limit": gate.limit, "passed": gate.passed, "detail": gate.detail}
            for gate in event.gates
        ],
    }


def _seconds(span_ns: int) -> float:
    return round(span_ns / NS_PER_MS / 1000, 1)
