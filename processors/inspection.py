"""The one outcome of a frame, as a message: inspected, or dropped with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from schemas.codec import FrameOwner
from schemas.errors import Refused
from schemas.frames import Frame
from schemas.inspections import DEFERRED, Defect, Imaging, Inspection, ModelUse, Timings, deferral_id
from schemas.reasons import DropReason, FrameOutcome, RefusalReason

CLOCK_SKEW, SEQUENCE_GAP = "clock_skew", "sequence_gap"


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePlace:
    """Where a frame's record lies, and when the broker received it (ns since the epoch)."""

    partition: int
    offset: int
    received_at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found on a frame.

    `reference` is the digest (`sha256:<hex>`) of what it was compared with, `imaging` how the camera saw beside that; both None where
    it was compared with nothing. `tolerance` is the digest of the tolerance map, `heat_map` and `failed_models` are as of `Inspection`.
    """

    defects: tuple[Defect, ...]
    anomaly_score: float
    models: tuple[ModelUse, ...]
    timings: Timings
    reference: str | None = None
    imaging: Imaging | None = None
    heat_map: bytes | None = None
    tolerance: str | None = None
    failed_models: tuple[ModelUse, ...] = ()


def inspected(
    frame: Frame, place: FramePlace, found: Examination, *, warnings: Sequence[str], now_ns: int
) -> Inspection:
    """The outcome of a frame that was inspected."""
    return _outcome(
        frame,
        place,
        outcome=FrameOutcome.INSPECTED,
        defects=found.defects,
        anomaly_score=found.anomaly_score,
        models=found.models,
        failed_models=found.failed_models,
        reference=found.reference,
        tolerance=found.tolerance,
        timings=found.timings,
        imaging=found.imaging,
        heat_map=found.heat_map,
        warnings=tuple(warnings),
        inspected_at_ns=now_ns,
    )


def dropped(frame: Frame, place: FramePlace, refused: Refused, *, warnings: Sequence[str], now_ns: int) -> Inspection:
    """The outcome of a frame that can be read but not inspected."""
    return _outcome(
        frame,
        place,
        outcome=FrameOutcome.DROPPED,
        reason=refused.reason.value,
        detail=refused.detail,
        reference=frame.reference,
        warnings=tuple(warnings),
        inspected_at_ns=now_ns,
    )


def deferred(frame: Frame, place: FramePlace, *, detail: str, warnings: Sequence[str], now_ns: int) -> Inspection:
    """Word that a frame will be inspected later, under an id of its own: the frame's id is kept for its one outcome."""
    return _outcome(
        frame,
        place,
        id=deferral_id(frame.id),
        outcome=FrameOutcome.DROPPED,
        reason=DropReason.DEFERRED.value,
        detail=detail,
        reference=frame.reference,
        warnings=tuple(warnings),
        inspected_at_ns=now_ns,
    )


def given_up(deferral: Inspection, *, reason: DropReason | RefusalReason, detail: str, now_ns: int) -> Inspection:
    """The outcome of a deferred frame that cannot be read again."""
    return msgspec.structs.replace(
        deferral,
        id=deferral.id.removesuffix(f"/{DEFERRED}"),
        reason=reason.value,
        detail=detail,
        warnings=(*deferral.warnings, DEFERRED),
        inspected_at_ns=now_ns,
    )


def _outcome(frame: Frame, place: FramePlace, **outcome: Any) -> Inspection:
    fields: dict[str, Any] = {"id": frame.id, **outcome}
    return Inspection(
        station=frame.station,
        camera=frame.camera,
        view=frame.view,
        session=frame.session,
        sequence=frame.sequence,
        part_id=frame.part_id,
        visit=frame.visit,
        recipe=frame.recipe,
        image_sha256=frame.sha256,
        width_px=frame.width_px,
        height_px=frame.height_px,
        captured_at_ns=frame.captured_at_ns,
        received_at_ns=place.received_at_ns,
        frame_partition=place.partition,
        frame_offset=place.offset,
        **fields,
    )


def dropped_unread(
    owner: FrameOwner, place: FramePlace, refused: Refused, *, warnings: Sequence[str], now_ns: int
) -> Inspection:
    """The outcome of a frame whose body cannot be read, but whose headers say whose it is."""
    return Inspection(
        id=owner.frame_id,
        station=owner.station,
        camera=owner.camera,
        view=owner.view,
        session=owner.session,
        sequence=owner.sequence,
        part_id=owner.part_id,
        visit=owner.visit,
        outcome=FrameOutcome.DROPPED,
        reason=refused.reason.value,
        detail=refused.detail,
        warnings=tuple(warnings),
        received_at_ns=place.received_at_ns,
        inspected_at_ns=now_ns,
        frame_partition=place.partition,
        frame_offset=place.offset,
    )
