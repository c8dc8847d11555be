"""What a version in shadow says of a frame that the line has inspected already: compared, never acted on."""

from __future__ import annotations

from schemas.message import Message
from schemas.reasons import VerdictValue


class ShadowAnswer(Message, frozen=True, kw_only=True):
    """A shadow's answer on one frame, and the one that judged the part beside it. `id` is `<frame id>/<model>/<version>`.

    `inspection` is the id of the frame's inspection. `beside` is the version of the same model that judged. A decision is about this view
    alone: `NOT_OK` where a defect counts under the recipe; `NOT_DECIDABLE` where the shadow gave no usable answer, and then `error` says
    why: on a frame that the line could inspect that speaks against the version. `score` is the anomaly score, 0 to 1. `infer_ms` is the
    time that the models took, `total_ms` that of the whole examination, which leaves the machine to the line wherever it can.
    """

    station: str
    camera: str
    view: str
    part_id: str
    visit: int
    recipe: str
    inspection: str
    model: str
    version: int
    digest: str
    beside: int
    decision: VerdictValue
    line_decision: VerdictValue
    answered_at_ns: int
    score: float = 0.0
    line_score: float = 0.0
    infer_ms: float = 0.0
    line_infer_ms: float = 0.0
    total_ms: float = 0.0
    error: str = ""


def shadow_id(*, inspection: str, model: str, version: int) -> str:
    """The id to remove duplicates of a shadow's answer by."""
    return f"{inspection}/{model}/{version}"
