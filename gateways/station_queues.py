"""What waits for each station: bounded, and a station whose queue is full holds up nobody whose commands lie in another partition."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from typing import Generic, TypeVar

Order = TypeVar("Order")


class StationQueues(Generic[Order]):
    """A queue of `length` orders for each station. What does not fit waits behind, in the order of its partition.

    Nothing more is to be fetched of the partitions in `behind`: so what waits there is bounded by what one fetch brings.
    """

    def __init__(self, stations: Collection[str], *, length: int) -> None:
        self._queues: dict[str, asyncio.Queue[Order]] = {name: asyncio.Queue(maxsize=length) for name in stations}
        self._behind: dict[int, deque[tuple[str, Order]]] = {}

    @property
    def behind(self) -> frozenset[int]:
        """Partitions whose next order goes to a station with a full queue."""
        return frozenset(self._behind)

    async def next(self, station: str) -> Order:
        """The next order of a station, waited for."""
        return await self._queues[station].get()

    def put(self, station: str, order: Order, *, partition: int) -> None:
        """Takes an order that came in `partition`; a partition's orders keep their order."""
        if partition in self._behind or self._queues[station].full():
            self._behind.setdefault(partition, deque()).append((station, order))
        else:
            self._queues[station].put_nowait(order)

    def place(self) -> None:
        """Puts into the queues what fits by now."""
        for partition, waiting in list(self._behind.items()):
            while waiting and not self._queues[waiting[0][0]].full():
                station, order = waiting.popleft()
                self._queues[station].put_nowait(order)
            if not waiting:
                del self._behind[partition]
