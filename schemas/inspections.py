"""What the inspect stage says about a frame: exactly one `Inspection` per frame, with the defects it found."""

from __future__ import annotations

from msgspec import field

from schemas.message import Message, Value
from schemas.reasons import DropReason, FrameOutcome

DEFERRED = "deferred"
"""The warning on an inspection of a frame that was deferred before: too late for its part's verdict."""


def deferral_id(frame_id: str) -> str:
    """The id under which a frame is said to be deferred. Its own id is kept for its one outcome."""
    return f"{frame_id}/{DEFERRED}"


class Defect(Value, frozen=True, kw_only=True):
    """One located, classified nonconformity on one view.

    `box` is `(x1, y1, x2, y2)` in px of the frame as the camera gave it: x to the right, y down, `x1 <= x < x2`.
    `polygon` is a closed outline of `(x, y)` points in the same px, empty where only a box is known.
    `area_px` counts the differing pixels, not the area of the box. `score` is a probability in [0, 1].
    """

    class_name: str = field(name="class")
    score: float
    box: tuple[int, int, int, int]
    area_px: float
    polygon: tuple[tuple[float, float], ...] = ()


class ModelUse(Value, frozen=True, kw_only=True):
    """A model version that took part in an inspection, and the digest (`sha256:<hex>`) of its weights."""

    model: str
    version: int
    digest: str


class Timings(Value, frozen=True, kw_only=True):
    """Where the time of one frame went, each in ms. `queue_ms` is from the broker's time to the start of the work."""

    queue_ms: float = 0.0
    decode_ms: float = 0.0
    align_ms: float = 0.0
    infer_ms: float = 0.0
    total_ms: float = 0.0


class Imaging(Value, frozen=True, kw_only=True):
    """How the camera saw the part, beside the reference picture, which does not age.

    `sharpness_ratio` compares the variance of the Laplacian at equal light, `level_ratio` the mean grey level: 1 is as on the reference.
    `saturated_ratio` and `black_ratio` are shares of pixels at the ends of the range, 0 to 1. `shift_px` is how far the part lay from
    its place on the reference, in px of the frame.
    """

    sharpness_ratio: float
    level_ratio: float
    saturated_ratio: float
    black_ratio: float
    shift_px: float


class Inspection(Message, frozen=True, kw_only=True):
    """The one outcome of a frame, or word that it has to wait. `id` equals the frame's id, so a repeated record is recognised.

    Word that a frame has to wait (a deferral: overload, recipe with `newest_first`) is `dropped` with the reason `deferred`,
    under the id `<frame id>/deferred`. The frame's own outcome follows later, with the warning `deferred`.

    `outcome` is `inspected` (then `defects` may be empty, and `reason` is None) or `dropped` (then `reason` says why).
    `frame_partition` and `frame_offset` name the record on `frames`, so that only pictures worth keeping are read again.
    `anomaly_score` in [0, 1] is the largest defect score before thresholds; its distribution shows drift.
    `imaging` tells how the camera saw; None where the frame was not compared.
    `heat_map` shows where a trained model found what it found: a grey PNG of at most 64 px a side and 8 kB, stretched over the whole
    frame; 255 is the strongest. None of frames without defects, and of models without a map.
    `tolerance` is the digest (`sha256:<hex>`) of the map of what good parts may differ by; None where none was used.
    `failed_models` are versions on trial that could not answer for the frame, in whose place `models` did.
    `warnings` lists what was noticed and survived: `clock_skew`, `sequence_gap`, `deferred`.
    """

    station: str
    camera: str
    view: str
    session: str
    sequence: int
    part_id: str
    visit: int
    outcome: FrameOutcome
    reason: str | None = None
    detail: str = ""
    recipe: str = ""
    defects: tuple[Defect, ...] = ()
    anomaly_score: float = 0.0
    models: tuple[ModelUse, ...] = ()
    reference: str | None = None
    image_sha256: str = ""
    width_px: int = 0
    height_px: int = 0
    captured_at_ns: int = 0
    received_at_ns: int = 0
    inspected_at_ns: int = 0
    frame_partition: int = -1
    frame_offset: int = -1
    warnings: tuple[str, ...] = ()
    timings: Timings = Timings()
    imaging: Imaging | None = None
    heat_map: bytes | None = None
    tolerance: str | None = None
    failed_models: tuple[ModelUse, ...] = ()

    @property
    def is_deferral(self) -> bool:
        """Whether this only says that the frame will be inspected later."""
        return self.reason == DropReason.DEFERRED

    @property
    def was_deferred(self) -> bool:
        """Whether this is the outcome of a frame that was deferred: for the record, after its part's verdict."""
        return DEFERRED in self.warnings
