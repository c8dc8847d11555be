"""The inspect stage in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from schemas.frames import Frame
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


def value(stage: Stage, name: str, **labels: str) -> float:
    """The value of one of the stage's metrics."""
    return stage.registry.get_sample_value(f"linesight_{stage.name}_{name}", labels) or 0.0


def keyed(frames: list[Frame]) -> list[tuple[str, Frame]]:
    """Frames as they are published: each under its camera."""
    return [(each.camera, each) for each in frames]
