"""Whether a picture that decodes was delivered to its end: a camera that fills up what it lacks sends rows that are all the same.

A JPEG cut short behind which somebody put an end mark decodes to one grey from there on, grabbers fill with black or with the last line.
Comparison sees such an area as one large difference, which need not look like any kind of defect. Only for cameras with noise: of 1,000
real boards of one bit without any (DeepPCB) 52 end in rows that are the same, and their references do not.
"""

from __future__ import annotations

import numpy as np

from processors.decoding import Image
from schemas.errors import Refused
from schemas.reasons import RefusalReason

BELIEVED_ROWS = 4
"""So many more rows than its reference may a whole picture end with: dark or burnt edges without noise."""


def check_last_rows(frame: Image, reference: Image, *, moved_px: float) -> None:
    """Raises Refused `undecodable_image` where the last rows of a frame are byte for byte the same, and its reference's are not.

    `frame`, `reference`: uint8 [H, W]. `moved_px`: how far the frame lay off at most; by so many rows more of a plain border may show.
    """
    same = _rows_like_the_last(frame)
    if same <= BELIEVED_ROWS + moved_px:
        return
    if same > _rows_like_the_last(reference) + BELIEVED_ROWS + moved_px:
        raise Refused(
            RefusalReason.UNDECODABLE_IMAGE,
            f"the last {same} of {len(frame)} rows are all the same: the camera sent the picture only in part",
        )


def _rows_like_the_last(image: Image) -> int:
    for row in range(1, len(image)):
        if not np.array_equal(image[-1 - row], image[-1]):
            return row
    return len(image)
