"""What several examples of messages hold. Every field is set, and set to something other than its default."""

from __future__ import annotations

from schemas.inspections import Defect, Imaging, ModelUse
from schemas.verdicts import ViewResult

AT_NS = 1_767_225_600_123_456_789
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
DIGEST = f"sha256:{SHA256}"

# a grey PNG of 2x1 px
HEAT_MAP = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000002000000010800000000d14920560000000b49444154081d6364f80f00010501014359a44d"
    "0000000049454e44ae426082"
)
DEFECT = Defect(
    class_name="mousebite",
    score=0.96875,
    box=(101, 202, 131, 240),
    area_px=312.5,
    polygon=((101.0, 202.0), (131.0, 202.5), (120.25, 240.0)),
)
MODEL = ModelUse(model="defect_classifier", version=3, digest=DIGEST)
VIEW = ViewResult(
    view="left",
    inspection="left/7f3a/41",
    outcome="inspected",
    reason="not_aligned",
    image_sha256=SHA256,
    frame_partition=2,
    frame_offset=9_876,
    anomaly_score=0.96875,
    defects=(DEFECT,),
    camera="left",
    captured_at_ns=AT_NS - 7_000_000,
    reference=f"sha256:{SHA256}",
    imaging=Imaging(sharpness_ratio=0.75, level_ratio=1.125, saturated_ratio=0.015625, black_ratio=0.25, shift_px=2.5),
)
