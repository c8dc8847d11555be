"""Work that runs side by side and leaves in the order in which it began, per key (camera)."""

from __future__ import annotations

import asyncio

REMEMBERED_KEYS = 1000


class Place:
    """A place in the queue of one key."""

    def __init__(self, before: Place | None) -> None:
        self._before = before
        self._behind: Place | None = None
        self._done = False
        self._left = asyncio.Event()
        if before is not None:
            before._behind = self

    @property
    def has_left(self) -> bool:
        """Whether this place and all before it have been left."""
        return self._left.is_set()

    async def turn(self) -> None:
        """Returns when everyone who came before has left."""
        if self._before is not None:
            await self._before._left.wait()

    def leave(self) -> None:
        """Lets the next one go, when it is our turn. To be called in any case, also after a failure or out of turn."""
        self._done = True
        place: Place | None = self
        while place is not None and place._done and (place._before is None or place._before.has_left):
            place._before = None
            place._left.set()
            place = place._behind


class OrderedExit:
    """Hands out places. Keys come from messages, and so may be any: those where nobody waits are forgotten."""

    def __init__(self) -> None:
        self._last: dict[str, Place] = {}

    def enter(self, key: str) -> Place:
        """A place behind everyone who entered with this key before."""
        if len(self._last) > REMEMBERED_KEYS:
            self._last = {known: place for known, place in self._last.items() if not place.has_left}
        last = self._last.get(key)
        place = self._last[key] = Place(None if last is None or last.has_left else last)
        return place
