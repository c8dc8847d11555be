"""One verdict per part, and the flat defect events made from it."""

from __future__ import annotations

import msgspec
from msgspec import field

from schemas.inspections import Defect, Imaging, ModelUse
from schemas.message import Message, Value
from schemas.reasons import FailSafe, VerdictReason, VerdictValue


class ViewResult(Value, frozen=True, kw_only=True):
    """What one view gave the verdict. `inspection` is the inspection's id, None where the view is missing.

    `defects` are those that count under the recipe; everything that was found is in the inspection. `reference` is the digest
    (`sha256:<hex>`) of the image that the view was compared with. `imaging` is the inspection's: how the camera saw; None where the
    frame was not compared.
    """

    view: str
    inspection: str | None = None
    outcome: str = "missing"
    reason: str | None = None
    image_sha256: str = ""
    frame_partition: int = -1
    frame_offset: int = -1
    anomaly_score: float = 0.0
    defects: tuple[Defect, ...] = ()
    camera: str = ""
    captured_at_ns: int = 0
    reference: str | None = None
    imaging: Imaging | None = None


class Verdict(Message, frozen=True, kw_only=True):
    """The judgement of one part at one station on one visit.

    `id` is `station/part_id/visit/revision`. Revision 1 is the line's own; a review makes revision 2 and so on: the
    highest revision holds for records and statistics, only revision 1 ever went to the PLC.
    `due_at_ns` is the deadline (None: the recipe sets none). `action` is what the plant is to do with the part.
    `labels` are those of its arrival. `challenge` names the challenge that a known-bad part is (plant file): it was brought to prove the
    station, and counts in no figure of the line; empty for an ordinary part. `challenge_passed`: whether the line's own verdict is the one
    that the part must get; whether the machine rejected it, `plc-events` tells.
    """

    station: str
    line: str
    part_id: str
    visit: int
    revision: int
    verdict: VerdictValue
    action: FailSafe
    arrived_at_ns: int
    decided_at_ns: int
    recipe: str
    batch: str = ""
    reasons: tuple[VerdictReason, ...] = ()
    detail: str = ""
    due_at_ns: int | None = None
    views: tuple[ViewResult, ...] = ()
    models: tuple[ModelUse, ...] = ()
    decided_by: str = "line"
    labels: dict[str, str] = {}
    challenge: str = ""
    challenge_passed: bool | None = None


class CountedDefect(Value, frozen=True, kw_only=True, gc=False):
    """Of a defect, what statistics count."""

    class_name: str = field(name="class")


class CountedView(Value, frozen=True, kw_only=True, gc=False):
    """Of a view, what statistics count."""

    outcome: str = "missing"
    camera: str = ""
    defects: tuple[CountedDefect, ...] = ()


class MeasuredView(Value, frozen=True, kw_only=True):
    """Of a view, what charts of measurements from pictures take (`schemas.chart_settings.PictureMeasurement`)."""

    view: str
    outcome: str = "missing"
    camera: str = ""
    anomaly_score: float = 0.0
    defects: tuple[Defect, ...] = ()
    imaging: Imaging | None = None


# without cycles, and looking for them took half the time of decoding: gc=False
class CountedVerdict(Message, frozen=True, kw_only=True, gc=False):
    """Of a `Verdict` on the wire, what statistics count: reading the rest of most verdicts takes longer than counting them.

    `views` are kept where one of them has a defect, or where they are asked for (`schemas.codec.decode_counted`); `measured` are the same
    views for charts of measurements, read beside them where such charts are.
    """

    station: str
    line: str
    part_id: str
    visit: int
    revision: int
    verdict: VerdictValue
    arrived_at_ns: int
    recipe: str
    batch: str = ""
    labels: dict[str, str] = {}
    challenge: str = ""
    views: tuple[CountedView, ...] = ()
    measured: tuple[MeasuredView, ...] = field(name="read_measured", default=())


class MeasuredViews(msgspec.Struct, frozen=True, kw_only=True):
    """Of a `Verdict` on the wire, its views alone, for charts of measurements."""

    views: tuple[MeasuredView, ...] = ()


def verdict_id(*, station: str, part_id: str, visit: int, revision: int) -> str:
    """The id to remove duplicates of a verdict by."""
    return f"{station}/{part_id}/{visit}/{revision}"


class DefectEvent(Message, frozen=True, kw_only=True):
    """One defect, flat, for subscribers who want nothing else.

    `id` is `<verdict id>/<n>`. Remove duplicates by `id`; a higher `revision` of the same (station, part_id, visit)
    replaces all events of the lower one. `box` and `area_px` are in px of the original frame. `picture` is the link to the
    kept picture: its key in the object store, named by the sha256 of its content. `challenge` is that of the verdict: such a
    defect is one of a part that was made to be bad.
    """

    line: str
    station: str
    part_id: str
    visit: int
    revision: int
    verdict: VerdictValue
    recipe: str
    batch: str
    camera: str
    view: str
    class_name: str = field(name="class")
    score: float
    box: tuple[int, int, int, int]
    area_px: float
    decided_at_ns: int
    captured_at_ns: int
    picture: str
    models: tuple[ModelUse, ...] = ()
    challenge: str = ""


def picture_key(image_sha256: str) -> str:
    """Key of a kept picture in the object store: content-addressed, fanned out by its first two hex digits."""
    return f"pictures/{image_sha256[:2]}/{image_sha256}"
