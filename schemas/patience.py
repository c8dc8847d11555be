"""How a service that is away is waited for: again and again, with growing pauses, never in silence."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from schemas.errors import Transient
from schemas.telemetry import AttemptRepeated, Stage

FIRST_S = 0.2
LONGEST_S = 2.0

Answer = TypeVar("Answer")


def pause_s(attempt: int, *, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> float:
    """Seconds after failed attempt number `attempt` (from 1): doubling, bounded, with jitter, so that clients do not knock in step."""
    return random.uniform(0.5, 1.0) * min(longest_s, first_s * 2.0 ** min(attempt - 1, 10))


async def patiently(
    ask: Callable[[], Awaitable[Answer]],
    *,
    stage: Stage,
    service: str,
    away: type[Exception] | tuple[type[Exception], ...] = Transient,
) -> Answer:
    """The first answer of `ask`. Asks again after each error that is `away`, without end: a record that waits is not lost.

    Every repetition is told as `AttemptRepeated` of `service`; other errors are the caller's.
    """
    attempt = 0
    while True:
        try:
            return await ask()
        except away as error:
            attempt += 1
            stage.emit(AttemptRepeated(service=service, detail=str(error) or repr(error), attempt=attempt))
            await asyncio.sleep(pause_s(attempt))


async def wait_at_most(longest_s: float, event: asyncio.Event) -> bool:
    """Waits for `event`, `longest_s` at most. Returns whether it is set."""
    try:
        async with asyncio.timeout(longest_s):
            return await event.wait()
    except TimeoutError:
        return False
