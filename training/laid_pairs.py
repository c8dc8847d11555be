"""References as the line lays them under pictures: what a model that compares is shown on the line, it is trained and tested on.

Laid once, when a dataset is frozen: without it a model learns to see past a displacement that the line takes away, and its test figures
are of pairs that the line never shows it.
"""

from collections import OrderedDict

import cv2
import numpy as np

from processors.decoding import decode_bgr
from processors.golden.alignment import AlignmentFailed
from processors.learned.form import Picture, grey
from processors.learned.paired_reference import PairedReference
from schemas.object_store import sha256_hex
from schemas.recipes import PairSegmenterInspection

KEPT = 16
"""Prepared references, of those used last: some MB each."""


class LaidReferences:
    """Lays references under pictures as `inspect` does."""

    def __init__(self) -> None:
        self._prepared: OrderedDict[tuple[str, PairSegmenterInspection], PairedReference] = OrderedDict()

    def laid(self, picture: bytes, reference: bytes, inspection: PairSegmenterInspection) -> bytes | None:
        """The reference as it lies under the picture, PNG of the picture's size; both are encoded images.

        None where the line could not judge the picture beside it either: the reference does not show in it, lies too far off, has another
        size, or one of them is no picture.
        """
        try:
            laid = self._paired(reference, inspection).laid_under(_decoded(picture))
        except (AlignmentFailed, ValueError):
            return None
        return bytes(cv2.imencode(".png", laid.picture)[1])

    def _paired(self, reference: bytes, inspection: PairSegmenterInspection) -> PairedReference:
        key = (sha256_hex(reference), inspection)
        paired = self._prepared.pop(key, None) or PairedReference(picture=_decoded(reference), inspection=inspection)
        self._prepared[key] = paired
        if len(self._prepared) > KEPT:
            self._prepared.popitem(last=False)
        return paired


def _decoded(content: bytes) -> Picture:
    """uint8 [H, W, 3], or [H, W] where it has no colour, as the line decodes. Raises ValueError."""
    picture = decode_bgr(content)
    plain = grey(picture)
    return plain if np.array_equal(picture, np.repeat(plain[..., None], 3, axis=2)) else picture
