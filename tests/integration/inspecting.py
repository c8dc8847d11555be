"""The inspect stage in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from schemas.plant import Plant
from schemas.telemetry import Stage
from topologies.inspect_stage import run

STOPS_WITHIN_S = 30
"""`run` itself takes up to 10 s; the rest is for a busy machine."""


@asynccontextmanager
async def inspecting(plant: Plant, *, plant_dir: Path) -> AsyncIterator[Stage]:
    """Runs until the block ends; then it must stop in time."""
    stop, stage = asyncio.Event(), Stage("inspect")
    task = asyncio.create_task(run(plant, plant_dir=plant_dir, stage=stage, stop=stop))
    try:
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(task, STOPS_WITHIN_S)
