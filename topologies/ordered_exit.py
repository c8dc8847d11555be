"""Work that runs side by side and leaves in the order in which it began, per key (camera)."""

from __future__ import annotations

import asyncio


class Place:
    """A place in the queue of one key."""

    def __init__(self, before: asyncio.Event | None) -> None:
        self._before = before
        self.left = asyncio.Event()

    async def turn(self) -> None:
        """Returns when everyone who came before has left."""
        if self._before is not None:
            await self._before.wait()
            self._before = None

    def leave(self) -> None:
        """Lets the next one go. To be called in any case, also after a failure."""
        self.left.set()


class OrderedExit:
    """Hands out places. Bounded by the number of keys: cameras are a closed list."""

    def __init__(self) -> None:
        self._last: dict[str, Place] = {}

    def enter(self, key: str) -> Place:
        """A place behind everyone who entered with this key before."""
        last = self._last.get(key)
        place = Place(None if last is None or last.left.is_set() else last.left)
        self._last[key] = place
        return place
