"""How a gateway lives: several activities at once, until one fails or the stop is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from schemas.telemetry import Stage

LOOK_EVERY_S = 0.2

Activity = Coroutine[Any, Any, None]


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
