"""From a person's label to the next revision of a verdict. Never a command: what the machine did is done."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from processors.verdict_rules import MISSING
from schemas.plant import Plant
from schemas.reasons import FailSafe, VerdictReason, VerdictValue
from schemas.records import Review
from schemas.verdicts import Verdict, ViewResult, verdict_id


def revised(review: Review, earlier: Sequence[Verdict], *, plant: Plant) -> Verdict | None:
    """The verdict that `review` makes of a part whose revisions so far are `earlier` (at least one, in any order).

    None where one of them is this review's already: reviewer and time name a review. Deterministic, so that a review that is
    read twice gives one revision. `decided_at_ns` is when the person decided, on the person's clock.
    """
    if any(verdict.revision > 1 and _made_by(verdict, review) for verdict in earlier):
        return None
    latest = max(earlier, key=lambda verdict: verdict.revision)
    revision = latest.revision + 1
    return msgspec.structs.replace(
        latest,
        id=verdict_id(station=review.station, part_id=review.part_id, visit=review.visit, revision=revision),
        revision=revision,
        verdict=review.verdict,
        action=_action(review.verdict, latest, plant),
        reasons=_reasons(review.verdict),
        detail=review.comment,
        views=_views(review, latest),
        decided_at_ns=review.reviewed_at_ns,
        decided_by=review.reviewer,
    )


def _made_by(verdict: Verdict, review: Review) -> bool:
    return verdict.decided_by == review.reviewer and verdict.decided_at_ns == review.reviewed_at_ns


def _action(value: VerdictValue, latest: Verdict, plant: Plant) -> FailSafe:
    if value is VerdictValue.OK:
        return FailSafe.PASS
    recipe = plant.recipe(latest.recipe)
    return recipe.fail_safe if value is VerdictValue.NOT_DECIDABLE and recipe else FailSafe.REJECT


def _reasons(value: VerdictValue) -> tuple[VerdictReason, ...]:
    if value is VerdictValue.NOT_OK:
        return VerdictReason.REVIEW, VerdictReason.DEFECT
    return (VerdictReason.REVIEW,)


def _views(review: Review, latest: Verdict) -> tuple[ViewResult, ...]:
    """OK: what the line found were false calls. Else what the person marked replaces what the line found on that view."""
    if review.verdict is VerdictValue.OK:
        return tuple(msgspec.structs.replace(view, defects=()) for view in latest.views)
    if not review.defects:
        return latest.views
    views = {view.view: view for view in latest.views}
    seen = views.get(review.view, ViewResult(view=review.view, outcome=MISSING))
    views[review.view] = msgspec.structs.replace(seen, defects=review.defects)
    return tuple(views.values())
