"""Frames from bytes to findings: checked, given room, fetched, and examined as the recipe says for their view."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import Executor

import msgspec

from processors.frame_checks import Assignment, FrameChecks
from processors.inspection import Examination, FramePlace
from schemas.errors import Refused
from schemas.frames import Frame
from schemas.object_store import ObjectStore
from schemas.plant import Plant
from schemas.reasons import RefusalReason
from schemas.recipes import Recipe, View
from schemas.settings import BudgetSettings
from schemas.telemetry import Noticed, Stage
from topologies.byte_budget import ByteBudget
from topologies.examinations import Examinations
from topologies.followed_models import FollowedModels
from topologies.frame_content import FrameContents
from topologies.picture_work import PictureWork
from topologies.references import References
from topologies.triton import Triton


class FrameExaminer:
    """Examines frames side by side, as many at a time as their decoded pixels and Triton's slots allow."""

    def __init__(
        self,
        *,
        plant: Plant,
        triton: Triton,
        references: References,
        followed: FollowedModels,
        store: ObjectStore,
        stage: Stage,
        executor: Executor,
        fetching: Executor,
        threads: int,
        limit_count: int,
    ) -> None:
        """`threads`: how many of the executor's are for preparing frames. `limit_count`: how many frames are open at most.

        `fetching`: threads of their own for the object store, so that one that is slow holds up only frames that lie there.
        """
        self._plant = plant
        self._checks = FrameChecks(plant)
        self._followed = followed
        self._references = references
        self._stage = stage
        self._contents = FrameContents(store=store, stage=stage, fetching=fetching)
        work = PictureWork(executor=executor, threads=threads, stage=stage)
        self._examinations = Examinations(triton=triton, references=references, work=work)
        limit_bytes = BudgetSettings().decoded_bytes
        self._noticed: set[str] = set()
        self._room = ByteBudget(
            limit_bytes=limit_bytes, limit_count=limit_count, used=stage.budget("decoded", limit_bytes=limit_bytes)
        )

    async def missing_reference(self, recipe: Recipe, needed: bool) -> str:
        """Loads the recipe's references: all of one that is needed at once, else as many as there is room for.

        Returns what is said of the first that is missing, "" where none is. Each is noticed, and frames of its view are refused meanwhile.
        The recipe's models are held by then: a trained one says whether it needs a reference. Raises ModelUnusable where that is not what
        the recipe says.
        """
        missing = [await self._missing(recipe, view, needed=needed) for view in recipe.views]
        return next(filter(None, missing), "")

    async def _missing(self, recipe: Recipe, view: View, *, needed: bool) -> str:
        camera = next((each for each in self._plant.cameras.values() if view.name in each.views), None)
        if camera is None or not (needed or self._references.has_room):
            return ""  # nobody takes the view, or it is loaded when it is needed
        assignment = Assignment(camera=camera, recipe=recipe, view=view)
        try:
            await self._examinations.load_reference(assignment)
        except Refused as refused:
            if view.reference is None:
                return ""  # a frame brings its own
            if view.reference not in self._noticed:  # it is looked for again and again, and told once
                self._noticed.add(view.reference)
                self._stage.emit(Noticed(what=refused.reason, subject=view.reference, detail=refused.detail))
            return f"reference of view {view.name}: {refused.detail}"
        self._noticed.discard(view.reference or "")
        return ""

    async def examine(
        self, frame: Frame, place: FramePlace, *, begin: Callable[[], None] = lambda: None
    ) -> Examination:
        """What is on a frame. Raises Refused with the reason for which it cannot be inspected.

        `begin` is called when there is room for the frame, before any work on it; what it raises goes to the caller.
        """
        started = time.perf_counter()
        queue_ms = max(0.0, time.time_ns() - place.received_at_ns) / 1e6
        planned = self._checks.check(frame)
        assignment = await self._followed.assigned(planned, frame)
        async with self._room.hold(self._most_bytes(frame, assignment)):
            begin()
            content = await self._contents.content(frame, assignment.camera)
            found = await self._examined(planned, assignment, frame, content)
            total_ms = (time.perf_counter() - started) * 1000
            timings = msgspec.structs.replace(found.timings, queue_ms=queue_ms, total_ms=total_ms)
            return dataclasses.replace(found, timings=timings)

    async def _examined(self, planned: Assignment, assignment: Assignment, frame: Frame, content: bytes) -> Examination:
        """A version on trial that fails must not cost the part its verdict: the one that judges the others answers in its place."""
        try:
            return await self._examinations.examine(assignment, frame, content)
        except Refused as refused:
            if refused.reason is not RefusalReason.MODEL_FAILED:
                raise
            instead = self._followed.instead(planned, assignment, frame)
            if instead is None:
                raise
            self._stage.emit(Noticed(what="canary_failed", subject=frame.id, detail=refused.detail))
        settled, failed_models = instead
        found = await self._examinations.examine(settled, frame, content)
        return dataclasses.replace(found, failed_models=failed_models)

    def _most_bytes(self, frame: Frame, assignment: Assignment) -> int:
        camera = assignment.camera
        # a frame that lies about its size is refused before it is decoded, so its claim may be trusted here
        claimed_px = min(frame.width_px, camera.max_width_px) * min(frame.height_px, camera.max_height_px)
        fetched_bytes = 0 if frame.uri is None else min(frame.size_bytes, camera.max_image_bytes)
        bytes_per_px = self._examinations.bytes_per_px(assignment.inspection)
        return int(bytes_per_px * max(0, claimed_px)) + max(0, fetched_bytes)
