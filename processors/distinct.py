"""Which messages are new, which repeat an earlier one, and which bear its id and say something else. Bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum, auto
from hashlib import blake2b
from typing import Any

import msgspec

LIMIT = 200_000
KEPT = 20_000

_encoder = msgspec.msgpack.Encoder()


class Sighting(Enum):
    """What is known of a message's id."""

    NEW = auto()
    REPEATED = auto()
    CONTRADICTED = auto()


class Distinct:
    """The last `limit` ids of one kind and a digest of what each said: about 150 bytes an id. Older ones count as new."""

    def __init__(self, *, limit: int = LIMIT) -> None:
        self._limit = limit
        self._digests: OrderedDict[int, int] = OrderedDict()

    def see(self, id: str, content: Any) -> Sighting:
        """Takes note of a message; `content` is what has to be equal under an equal id (anything that msgspec encodes)."""
        key, digest = _digest(id.encode()), _digest(_encoder.encode(content))
        known = self._digests.get(key)
        if known is not None:
            return Sighting.REPEATED if known == digest else Sighting.CONTRADICTED
        self._digests[key] = digest
        if len(self._digests) > self._limit:
            self._digests.popitem(last=False)
        return Sighting.NEW

    def newest(self, count: int = KEPT) -> list[list[int]]:
        """The newest ids and digests, oldest first, to be kept."""
        return [list(pair) for pair in list(self._digests.items())[-count:]]

    @staticmethod
    def from_newest(pairs: Iterable[Iterable[int]]) -> Distinct:
        """What `newest` gave."""
        distinct = Distinct()
        distinct._digests.update((key, digest) for key, digest in pairs)
        return distinct


def _digest(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big")
