"""Which versions in shadow are asked about a frame, and how their answers stand beside the one that judged the part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from processors.frame_checks import Assignment
from processors.inspection import Examination
from processors.version_choice import with_versions
from processors.voting import counting
from schemas.inspections import Defect, Inspection
from schemas.reasons import VerdictValue
from schemas.recipes import ModelPin, Recipe
from schemas.shadows import ShadowAnswer, shadow_id

ERROR_LIMIT = 300
"""Characters of an error that are kept."""


def trials(
    assignment: Assignment, inspection: Inspection, *, shadow_of: Callable[[ModelPin], int | None]
) -> list[tuple[ModelPin, Assignment]]:
    """Each version in shadow of the models that inspect this view, and the view's assignment with that version alone in its place.

    The other models are those that the line used for this very frame.
    """
    used = {use.model: use.version for use in inspection.models}
    found = []
    for pin in assignment.inspection.models:
        version = shadow_of(pin)
        if version is None or version == used.get(pin.name):
            continue
        version_of = partial(_version, {**used, pin.name: version})
        shadowed = with_versions(assignment.inspection, version_of)
        view = msgspec.structs.replace(assignment.view, inspection=shadowed)
        trial = Assignment(camera=assignment.camera, recipe=assignment.recipe, view=view)
        found.append((msgspec.structs.replace(pin, version=version), trial))
    return found


def _version(versions: Mapping[str, int], pin: ModelPin) -> int:
    return versions.get(pin.name, pin.version)


def answered(
    pin: ModelPin,
    digest: str,
    trial: Assignment,
    inspection: Inspection,
    found: Examination,
    *,
    total_ms: float,
    now_ns: int,
) -> ShadowAnswer:
    """The answer of the version `pin` on a frame."""
    return msgspec.structs.replace(
        _beside(pin, trial, inspection, now_ns=now_ns),
        digest=digest,
        decision=_decision(found.defects, trial.recipe),
        score=found.anomaly_score,
        infer_ms=found.timings.infer_ms,
        total_ms=total_ms,
    )


def failed(pin: ModelPin, trial: Assignment, inspection: Inspection, *, error: str, now_ns: int) -> ShadowAnswer:
    """What is said of a version that gave no usable answer on a frame that the line could inspect."""
    return msgspec.structs.replace(
        _beside(pin, trial, inspection, now_ns=now_ns), error=error[:ERROR_LIMIT] or "failed"
    )


def _beside(pin: ModelPin, trial: Assignment, inspection: Inspection, *, now_ns: int) -> ShadowAnswer:
    return ShadowAnswer(
        id=shadow_id(inspection=inspection.id, model=pin.name, version=pin.version),
        station=inspection.station,
        camera=inspection.camera,
        view=inspection.view,
        part_id=inspection.part_id,
        visit=inspection.visit,
        recipe=inspection.recipe,
        inspection=inspection.id,
        model=pin.name,
        version=pin.version,
        digest="",
        beside=next((use.version for use in inspection.models if use.model == pin.name), 0),
        decision=VerdictValue.NOT_DECIDABLE,
        line_decision=_decision(inspection.defects, trial.recipe),
        line_score=inspection.anomaly_score,
        line_infer_ms=inspection.timings.infer_ms,
        answered_at_ns=now_ns,
    )


def _decision(defects: tuple[Defect, ...], recipe: Recipe) -> VerdictValue:
    """What this view alone says: bad where a defect counts."""
    return VerdictValue.NOT_OK if counting(defects, recipe) else VerdictValue.OK
