"""Which parts have their verdict, in bounded memory: about 200 bytes a part.

Broker times of arrivals increase within a partition, so forgetting the oldest leaves a horizon: an arrival at or before it is
taken as decided. A replay from long ago then repeats no verdict, at whatever length.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b

from processors.part_state import PartVisit

DEFAULT_LIMIT = 200_000
_DIGEST_BYTES = 8


class DecidedParts:
    """The last `limit` decided parts of one partition, and the inspections that each verdict used."""

    def __init__(self, *, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._parts: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()
        self._horizon_ns = -1

    def __len__(self) -> int:
        return len(self._parts)

    def __contains__(self, visit: PartVisit) -> bool:
        return _digest(str(visit), 16) in self._parts

    def add(self, visit: PartVisit, *, arrived_at_ns: int, inspections: Iterable[str]) -> None:
        """The part has a verdict, made of these inspections (ids)."""
        used = b"".join(_digest(inspection, _DIGEST_BYTES) for inspection in inspections)
        self._parts[_digest(str(visit), 16)] = (arrived_at_ns, used)
        if len(self._parts) > self._limit:
            _, (forgotten_at_ns, _) = self._parts.popitem(last=False)
            self._horizon_ns = max(self._horizon_ns, forgotten_at_ns)

    def covers(self, visit: PartVisit, *, arrived_at_ns: int) -> bool:
        """Whether the part that arrived at this broker time was decided, as far as is remembered or forgotten."""
        return visit in self or arrived_at_ns <= self._horizon_ns

    def used(self, visit: PartVisit, inspection: str) -> bool:
        """Whether the verdict was made with this inspection (then its record is a duplicate, else it is late)."""
        _, used = self._parts.get(_digest(str(visit), 16), (0, b""))
        wanted = _digest(inspection, _DIGEST_BYTES)
        return any(used[at : at + _DIGEST_BYTES] == wanted for at in range(0, len(used), _DIGEST_BYTES))


def _digest(text: str, size_bytes: int) -> bytes:
    return blake2b(text.encode(), digest_size=size_bytes).digest()
