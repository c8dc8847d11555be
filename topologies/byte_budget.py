"""Room for what takes memory: bounded in bytes and in number, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Gauge


class ByteBudget:
    """At most `limit_bytes` in at most `limit_count` pieces at a time; one piece larger than the limit gets it all.

    `used` shows the bytes that are taken.
    """

    def __init__(self, *, limit_bytes: int, limit_count: int, used: Gauge | None = None) -> None:
        self._limit_bytes = limit_bytes
        self._limit_count = limit_count
        self._used_bytes = 0
        self._used_count = 0
        self._shown = used
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, size_bytes: int) -> AsyncIterator[None]:
        """Waits until there is room for `size_bytes`, and gives it back at the end of the block."""
        size_bytes = min(size_bytes, self._limit_bytes)
        if self._waiting or not self._fits(size_bytes):
            admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((size_bytes, admitted))
            try:
                await admitted
            except asyncio.CancelledError:
                if admitted.done() and not admitted.cancelled():
                    self._give_back(size_bytes)
                raise
        else:
            self._take(size_bytes)
        try:
            yield
        finally:
            self._give_back(size_bytes)

    def _fits(self, size_bytes: int) -> bool:
        return self._used_count < self._limit_count and self._used_bytes + size_bytes <= self._limit_bytes

    def _take(self, size_bytes: int) -> None:
        self._used_bytes += size_bytes
        self._used_count += 1
        self._show()

    def _give_back(self, size_bytes: int) -> None:
        self._used_bytes -= size_bytes
        self._used_count -= 1
        self._show()
        while self._waiting:
            wanted_bytes, admitted = self._waiting[0]
            if admitted.done():  # its owner was cancelled
                self._waiting.popleft()
            elif self._fits(wanted_bytes):
                self._waiting.popleft()
                self._take(wanted_bytes)
                admitted.set_result(None)
            else:
                return

    def _show(self) -> None:
        if self._shown is not None:
            self._shown.set(self._used_bytes)
