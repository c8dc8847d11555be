"""Which pictures are kept: those of every part that is not OK or has defects, and of a share of the others, chosen by hash.

By hash, so that the choice depends on the part alone: a replay keeps the same pictures, and whoever reads the verdicts can tell
which parts have some.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from processors.part_state import PartVisit
from schemas.reasons import VerdictValue
from schemas.verdicts import Verdict

_HASH_BYTES = 8
_HASHES = 2.0 ** (8 * _HASH_BYTES)


class KeptFor(StrEnum):
    """Why the pictures of a part are kept: the label values of the counter `pictures`."""

    NOT_OK = "not_ok"
    DEFECT = "defect"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class WantedPicture:
    """A picture to keep: the record on `frames` that carries it, and what its bytes must hash to (lower-case hex)."""

    partition: int
    offset: int
    image_sha256: str


def kept_for(verdict: Verdict, *, ok_share_ratio: float) -> KeptFor | None:
    """Why the pictures of this revision's part are to be kept; None where they are not."""
    if verdict.verdict is not VerdictValue.OK:
        return KeptFor.NOT_OK
    if any(view.defects for view in verdict.views):
        # a vote may pass it all the same, and each of its defect events links to a picture
        return KeptFor.DEFECT
    if is_sampled(PartVisit(verdict.station, verdict.part_id, verdict.visit), share_ratio=ok_share_ratio):
        return KeptFor.SAMPLE
    return None


def is_sampled(visit: PartVisit, *, share_ratio: float) -> bool:
    """Whether a part is among the share that is kept though OK. Who is in at one share is in at every larger one."""
    digest = hashlib.sha256(str(visit).encode()).digest()
    return int.from_bytes(digest[:_HASH_BYTES], "big") < share_ratio * _HASHES


def wanted_pictures(verdict: Verdict) -> tuple[WantedPicture, ...]:
    """The pictures of a part in the order in which they lie on the topic.

    A view that is missing has none; one whose frame could not be read is in the dead letters, byte for byte.
    """
    wanted = {
        WantedPicture(partition=view.frame_partition, offset=view.frame_offset, image_sha256=view.image_sha256)
        for view in verdict.views
        if view.image_sha256 and view.frame_partition >= 0 and view.frame_offset >= 0
    }
    return tuple(sorted(wanted))
