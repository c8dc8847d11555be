"""Everything it takes to inspect frames: Triton, references, threads to decode in. For the live stage and for the backfill."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2

from processors.inspection import FramePlace, dropped, inspected
from schemas.errors import Refused
from schemas.frames import Frame
from schemas.inspections import Inspection
from schemas.object_store import open_store
from schemas.plant import Plant
from schemas.settings import ObjectStoreSettings, StageSettings, TritonSettings
from schemas.telemetry import Stage
from topologies.background import Background
from topologies.frame_examiner import FrameExaminer
from topologies.recipe_models import models_of_plant
from topologies.references import References
from topologies.triton import Triton

MOST_THREADS = 4  # alignment holds the interpreter most of its time: more threads only wait for it
FETCHING_THREADS = 4
FRAMES_PER_REQUEST = 16
"""How many frames may be open for each request in flight: as many again as a full batch holds, while it is under way."""

LOOK_EVERY_S = 2.0
"""How often a reference that is missing is looked for."""

LEAST_URGENT = 19
"""`nice` of threads that must not take time from anybody else's."""

Outcome = tuple[Inspection, Refused | None]
"""What became of a frame, and why it was refused, if it was."""


class InspectionBench:
    """Make it inside the running loop; `close` at the end. `check` raises what went wrong in the background.

    `in_the_background`: one frame at a time, in a thread that yields to every other one of the machine.
    """

    def __init__(self, *, plant: Plant, plant_dir: Path, stage: Stage, in_the_background: bool = False) -> None:
        cv2.setNumThreads(1)  # frames run side by side; threads within a frame would only fight them
        settings, store = TritonSettings(), open_store(ObjectStoreSettings())
        owner = f"{plant.plant}-{stage.name}-{StageSettings().instance}"
        self._triton = Triton(settings=settings, stage=stage, models=models_of_plant(plant), owner=owner)
        threads = 1 if in_the_background else max(2, min(MOST_THREADS, os.cpu_count() or 2))
        self._executor = ThreadPoolExecutor(threads, "decode", _yield_to_all if in_the_background else None)
        self._fetching = ThreadPoolExecutor(FETCHING_THREADS, "fetch")
        self._examiner = FrameExaminer(
            plant=plant,
            triton=self._triton,
            references=References(plant_dir=plant_dir, store=store, stage=stage, executor=self._executor),
            store=store,
            stage=stage,
            executor=self._executor,
            fetching=self._fetching,
            threads=threads,
            limit_count=1 if in_the_background else FRAMES_PER_REQUEST * settings.in_flight,
        )
        self._stage = stage
        self._services = Background()
        self._services.spawn(self._triton.keep_ready())
        self._services.spawn(self._warm_up())
        self._warm = False

    @property
    def ready(self) -> bool:
        """Whether Triton answers, and the first frame would be as quick as any other."""
        return self._triton.ready and self._warm

    async def inspect(
        self, frame: Frame, place: FramePlace, *, warnings: Sequence[str], begin: Callable[[], None] = lambda: None
    ) -> Outcome:
        """The outcome of a frame: inspected, or dropped for the reason for which it cannot be.

        `begin` is called when the work on it begins; what it raises goes to the caller.
        """
        try:
            found = await self._examiner.examine(frame, place, begin=begin)
        except Refused as refused:
            return dropped(frame, place, refused, warnings=warnings, now_ns=time.time_ns()), refused
        return inspected(frame, place, found, warnings=warnings, now_ns=time.time_ns()), None

    def check(self) -> None:
        """Raises what went wrong with a service."""
        self._services.check()

    async def close(self) -> None:
        """Ends every task and closes the connections."""
        await self._services.cancel()
        await self._triton.close()
        for executor in (self._executor, self._fetching):
            executor.shutdown(wait=False, cancel_futures=True)

    async def _warm_up(self) -> None:
        self._stage.lacking_recipes = await self._examiner.lacking()
        await self._examiner.warm_up()
        self._warm = True
        while self._stage.lacking_recipes:  # a reference may be captured while the line runs
            await asyncio.sleep(LOOK_EVERY_S)
            self._stage.lacking_recipes = await self._examiner.lacking()


def _yield_to_all() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LEAST_URGENT)  # on Linux a thread has its own
