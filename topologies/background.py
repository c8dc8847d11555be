"""Concurrent work whose errors do not get lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """Tasks that nobody awaits one by one. The first error is kept in `failed` until somebody asks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failed.add_done_callback(lambda future: future.cancelled() or future.exception())  # never "not retrieved"

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts `work`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def check(self) -> None:
        """Raises the first error of a task, if there was one."""
        if self.failed.done():
            self.failed.result()

    def fail(self, error: BaseException) -> None:
        """Counts as the error of a task, unless there was one before."""
        if not self.failed.done():
            self.failed.set_exception(error)

    async def settled(self) -> None:
        """Returns when no task is left."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Cancels what is left and waits for its end."""
        for task in self._tasks:
            task.cancel()
        await self.settled()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.fail(error)


async def until_one_ends(*work: Coroutine[Any, Any, None]) -> None:
    """Runs all of `work` until one ends, cancels the others, and raises the error of the one that ended, if any."""
    tasks = [asyncio.ensure_future(part) for part in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()
