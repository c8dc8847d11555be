"""How a gateway lives: several activities at once, until one fails or the stop is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from schemas.telemetry import Stage

LOOK_EVERY_S = 0.2
ENDS_WITHIN_S = 1.0

Activity = Coroutine[Any, Any, None]
_Answer = TypeVar("_Answer")


async def together(*activities: Activity) -> None:
    """Runs all; returns when all have. The first failure cancels the others and is raised as it is."""
    tasks = [asyncio.create_task(activity) for activity in activities]
    try:
        for done in asyncio.as_completed(tasks):
            await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_stopped(stop: asyncio.Event, *activities: Activity) -> None:
    """Runs all until `stop` is set, then cancels them. The first failure is raised as it is."""
    working = asyncio.create_task(together(*activities))
    stopped = asyncio.create_task(_wait(stop))
    try:
        await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            await stopped
    finally:
        working.cancel()
        stopped.cancel()
        await asyncio.gather(working, stopped, return_exceptions=True)


async def in_own_task(request: Awaitable[_Answer]) -> _Answer:
    """The answer of a request of a client library; a cancellation always ends the wait for it.

    `asyncio.wait_for` before Python 3.12 returns the answer where both come at once (https://github.com/python/cpython/issues/86296), and
    asyncua takes whatever cancels it while it ends its own tasks for theirs: who was told to stop would go on.
    """
    asking = asyncio.ensure_future(request)
    try:
        await asyncio.wait((asking,))
    finally:
        if asking.cancel():
            await asyncio.wait((asking,), timeout=ENDS_WITHIN_S)
    return asking.result()


async def show_ready(stage: Stage, is_ready: Callable[[], bool]) -> None:
    """Keeps `stage.ready` at what `is_ready` says; not ready once cancelled."""
    try:
        while True:
            stage.ready = is_ready()
            await asyncio.sleep(LOOK_EVERY_S)
    finally:
        stage.ready = False


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()
