"""Duplicates and gaps in the sequences of cameras, with bounded memory."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

REMEMBERED_FRAMES = 4096
REMEMBERED_SESSIONS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a frame's sequence number tells: seen before, or `missing` as `(first, last)` before it."""

    duplicate: bool = False
    missing: tuple[int, int] | None = None


@dataclass(slots=True)
class _Session:
    highest: int
    order: deque[int] = field(default_factory=deque)
    seen: set[int] = field(default_factory=set)


class SequenceWatch:
    """Remembers the last frames of each camera's latest sessions.

    The first frame seen of a session starts it: what came before it may have been seen by another worker.
    """

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, str], _Session] = OrderedDict()

    def note(self, *, camera: str, session: str, sequence: int) -> Sighting:
        """A frame was read."""
        known = self._sessions.get((camera, session))
        if known is None:
            known = self._sessions[camera, session] = _Session(highest=sequence - 1)
            if len(self._sessions) > REMEMBERED_SESSIONS:
                self._sessions.popitem(last=False)
        else:
            self._sessions.move_to_end((camera, session))
        if sequence in known.seen:
            return Sighting(duplicate=True)
        known.seen.add(sequence)
        known.order.append(sequence)
        if len(known.order) > REMEMBERED_FRAMES:
            known.seen.discard(known.order.popleft())
        missing = (known.highest + 1, sequence - 1) if sequence > known.highest + 1 else None
        known.highest = max(known.highest, sequence)
        return Sighting(missing=missing)
