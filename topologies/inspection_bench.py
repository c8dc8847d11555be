"""Everything it takes to inspect frames: Triton, references, threads to decode in. For the live stage and for the backfill."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2

from processors.inspection import FramePlace, dropped, inspected
from processors.model_registry import Registry
from processors.recipe_keeping import RecipeKeeping
from schemas.errors import Refused
from schemas.frames import Frame
from schemas.inspections import Inspection
from schemas.object_store import open_store
from schemas.plant import Plant
from schemas.recipes import Recipe
from schemas.settings import KafkaSettings, ObjectStoreSettings, StageSettings, TritonSettings
from schemas.telemetry import Stage
from topologies.background import Background
from topologies.followed_models import FollowedModels
from topologies.frame_examiner import FrameExaminer
from topologies.recipe_models import models_of
from topologies.recipe_wishes import RecipeWishes, follow
from topologies.references import References
from topologies.shadow_bench import ShadowBench
from topologies.triton import Triton
from topologies.warm_recipes import WarmRecipes

MOST_THREADS = 4  # alignment holds the interpreter most of its time: more threads only wait for it
FETCHING_THREADS = 4
FRAMES_PER_REQUEST = 16
"""How many frames may be open for each request in flight: as many again as a full batch holds, while it is under way."""

BELT_MARGIN_S = 2.0
"""For what is late: a frame that waits on the topic, a clock that is off."""

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
        registry = Registry()
        self._triton = Triton(settings=settings, stage=stage, owner=owner, told=registry.told)
        self._followed = FollowedModels(plant=plant, registry=registry, triton=self._triton, stage=stage)
        threads = 1 if in_the_background else max(2, min(MOST_THREADS, os.cpu_count() or 2))
        self._executor = ThreadPoolExecutor(threads, "decode", _yield_to_all if in_the_background else None)
        self._fetching = ThreadPoolExecutor(FETCHING_THREADS, "fetch")
        self._examiner = FrameExaminer(
            plant=plant,
            triton=self._triton,
            references=References(plant_dir=plant_dir, store=store, stage=stage, executor=self._executor),
            followed=self._followed,
            store=store,
            stage=stage,
            executor=self._executor,
            fetching=self._fetching,
            threads=threads,
            limit_count=1 if in_the_background else FRAMES_PER_REQUEST * settings.in_flight,
        )
        self._stage = stage
        self._open = 0
        self._services = Background()
        wishes = RecipeWishes(stage=stage.name, instance=StageSettings().instance)
        self._recipes = WarmRecipes(
            recipes=plant.recipes,
            keeping=RecipeKeeping(
                recipes=[recipe.key for recipe in plant.recipes],
                at_most=settings.kept_recipes,
                belt_s=_longest_belt_s(plant),
                ahead=not in_the_background,
            ),
            wishes=wishes,
            triton=self._triton,
            models_of=models_of,
            missing_reference=self._missing_reference,
            stage=stage,
            serves_plcs=any(station.plc is not None for station in plant.stations),
            tells=not in_the_background,
        )
        kafka = KafkaSettings()
        self._shadows: ShadowBench | None = None
        if not in_the_background and any(model.pin.follow for recipe in plant.recipes for model in models_of(recipe)):
            self._shadows = ShadowBench(
                plant=plant,
                plant_dir=plant_dir,
                followed=self._followed,
                store=store,
                stage=stage,
                is_idle=lambda: self._open == 0,
            )
            self._services.spawn(self._shadows.run(kafka))
        self._services.spawn(self._triton.keep_ready())
        self._services.spawn(self._recipes.run())
        self._services.spawn(self._followed.run(kafka))
        self._services.spawn(follow(wishes, plant=plant, stage=stage, kafka=kafka, changed=self._recipes.look))

    @property
    def ready(self) -> bool:
        """Whether Triton answers, and the first frame would be as quick as any other, as far as that can be."""
        return self._triton.ready and self._recipes.began and self._followed.began

    async def inspect(
        self,
        frame: Frame,
        place: FramePlace,
        *,
        warnings: Sequence[str],
        begin: Callable[[], None] = lambda: None,
        waits_until_ns: int | None = None,
    ) -> Outcome:
        """The outcome of a frame: inspected, or dropped for the reason for which it cannot be.

        `begin` is called when the work on it begins; what it raises goes to the caller. Until `waits_until_ns` (UTC) at most the frame
        waits for its recipe to be loaded, and goes on without: for `begin` to send it away.
        """
        until_s = None if waits_until_ns is None else time.monotonic() + (waits_until_ns - time.time_ns()) / 1e9
        self._open += 1
        try:
            async with self._recipes.use(frame.recipe, until_s=until_s):
                found = await self._examiner.examine(frame, place, begin=begin)
        except Refused as refused:
            return dropped(frame, place, refused, warnings=warnings, now_ns=time.time_ns()), refused
        finally:
            self._open -= 1
        return inspected(frame, place, found, warnings=warnings, now_ns=time.time_ns()), None

    async def _missing_reference(self, recipe: Recipe, needed: bool) -> str:
        """As the examiner says; what a trained model says of itself may stand in the registry alone."""
        await self._followed.known(recipe)
        return await self._examiner.missing_reference(recipe, needed)

    def offer_to_shadow(self, frame: Frame, inspection: Inspection) -> None:
        """A frame whose inspection is out: for a version in shadow, where there is one. Never waits."""
        if self._shadows is not None:
            self._shadows.offer(frame, inspection)

    def check(self) -> None:
        """Raises what went wrong with a service."""
        self._services.check()

    async def close(self) -> None:
        """Ends every task and closes the connections."""
        await self._services.cancel()
        if self._shadows is not None:
            await self._shadows.close()
        await self._triton.close()
        for executor in (self._executor, self._fetching):
            executor.shutdown(wait=False, cancel_futures=True)


def _longest_belt_s(plant: Plant) -> float:
    """How long a part is on its way at most, from its trigger to the gate."""
    return max(station.gate_after_ms for station in plant.stations) / 1000 + BELT_MARGIN_S


def _yield_to_all() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LEAST_URGENT)  # on Linux a thread has its own
