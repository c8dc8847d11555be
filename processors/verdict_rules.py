"""From the state of a part to its verdict: a decision list.

In this order:

1. unknown recipe                                -> NOT_DECIDABLE `unknown_recipe`, action `reject`
2. first seen after its deadline (an outage)     -> NOT_DECIDABLE `deadline`
3. the defects that count meet the voting rule   -> NOT_OK `defect`, whatever else is missing or dropped
4. a required view missing                       -> NOT_DECIDABLE `missing_view`, with `deadline` where that has passed
5. a required view dropped                       -> NOT_DECIDABLE `view_dropped`
6. otherwise                                     -> OK

What was also noticed (missing or dropped views beside a defect) follows in the reasons. NOT_OK goes before NOT_DECIDABLE
because voting rules are monotone: the views that are missing could not have taken the defect back.
"""

from __future__ import annotations

from typing import Any

from processors.part_state import OpenPart
from processors.voting import counting, votes_not_ok
from schemas.inspections import Inspection, ModelUse
from schemas.plant import Line
from schemas.reasons import FailSafe, VerdictReason, VerdictValue
from schemas.recipes import Recipe
from schemas.verdicts import Verdict, ViewResult, verdict_id

MISSING = "missing"


def decide(part: OpenPart[Any], *, line: Line, now_ns: int, seen_in_time: bool) -> Verdict:
    """The verdict (revision 1) on `part` as it stands. `seen_in_time`: its arrival was read before its deadline."""
    views = _view_results(part)
    value, reasons = _judged(part, views, now_ns=now_ns, seen_in_time=seen_in_time)
    arrival = part.arrival
    return Verdict(
        id=verdict_id(station=arrival.station, part_id=arrival.part_id, visit=arrival.visit, revision=1),
        station=arrival.station,
        line=line.name,
        part_id=arrival.part_id,
        visit=arrival.visit,
        revision=1,
        verdict=value,
        action=_action(value, part.recipe),
        arrived_at_ns=part.arrived_at_ns,
        decided_at_ns=now_ns,
        recipe=arrival.recipe,
        batch=arrival.batch,
        labels=arrival.labels,
        reasons=reasons,
        detail=_detail(part),
        due_at_ns=part.due_at_ns,
        views=views,
        models=_models(part),
    )


def _judged(
    part: OpenPart[Any], views: tuple[ViewResult, ...], *, now_ns: int, seen_in_time: bool
) -> tuple[VerdictValue, tuple[VerdictReason, ...]]:
    if part.recipe is None:
        return VerdictValue.NOT_DECIDABLE, (VerdictReason.UNKNOWN_RECIPE,)
    noticed = _noticed(part, now_ns)
    if not seen_in_time:
        return VerdictValue.NOT_DECIDABLE, noticed
    if votes_not_ok(part.recipe.voting, {view.view: view.defects for view in views}):
        return VerdictValue.NOT_OK, (VerdictReason.DEFECT, *noticed)
    if noticed:
        return VerdictValue.NOT_DECIDABLE, noticed
    return VerdictValue.OK, ()


def _noticed(part: OpenPart[Any], now_ns: int) -> tuple[VerdictReason, ...]:
    reasons: list[VerdictReason] = []
    if part.due_at_ns is not None and now_ns >= part.due_at_ns:
        reasons.append(VerdictReason.DEADLINE)
    if part.missing_views:
        reasons.append(VerdictReason.MISSING_VIEW)
    if part.dropped_views:
        reasons.append(VerdictReason.VIEW_DROPPED)
    return tuple(reasons)


def _action(value: VerdictValue, recipe: Recipe | None) -> FailSafe:
    if value is VerdictValue.OK:
        return FailSafe.PASS
    if value is VerdictValue.NOT_OK or recipe is None:
        return FailSafe.REJECT
    return recipe.fail_safe


def _detail(part: OpenPart[Any]) -> str:
    told = []
    if part.recipe is None:
        told.append(f"recipe {part.arrival.recipe!r} is not in the plant file")
    if part.missing_views:
        told.append(f"missing: {', '.join(part.missing_views)}")
    if part.dropped_views:
        told.append("dropped: " + ", ".join(f"{view} ({part.views[view].reason})" for view in part.dropped_views))
    return "; ".join(told)


def _view_results(part: OpenPart[Any]) -> tuple[ViewResult, ...]:
    """Required views in their order (missing ones too), then what came besides, by name."""
    names = [*part.required_views, *sorted(part.views.keys() - set(part.required_views))]
    return tuple(_view_result(name, part.views.get(name), part.recipe) for name in names)


def _view_result(view: str, inspection: Inspection | None, recipe: Recipe | None) -> ViewResult:
    if inspection is None:
        return ViewResult(view=view, outcome=MISSING)
    return ViewResult(
        view=view,
        inspection=inspection.id,
        outcome=inspection.outcome.value,
        reason=inspection.reason,
        image_sha256=inspection.image_sha256,
        frame_partition=inspection.frame_partition,
        frame_offset=inspection.frame_offset,
        anomaly_score=inspection.anomaly_score,
        defects=counting(inspection.defects, recipe) if recipe else inspection.defects,
        camera=inspection.camera,
        captured_at_ns=inspection.captured_at_ns,
        reference=inspection.reference,
        imaging=inspection.imaging,
    )


def _models(part: OpenPart[Any]) -> tuple[ModelUse, ...]:
    used = {(use.model, use.version): use for inspection in part.views.values() for use in inspection.models}
    return tuple(used[key] for key in sorted(used))
