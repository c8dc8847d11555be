"""Frames from bytes to findings: decode and align in threads, compare and classify in Triton, batches by backlog."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from processors.decoding import check_limit_bytes, decode_frame
from processors.frame_checks import FrameChecks
from processors.golden.alignment import AlignmentFailed
from processors.golden.candidates import Candidate
from processors.golden.classes import CLASSIFIER_OUTPUTS
from processors.golden.comparison import GoldenComparison, LaidFrame
from processors.golden.crops import CROP_PX
from processors.golden.findings import anomaly_score
from processors.inspection import Examination, FramePlace
from processors.missing_rows import check_last_rows
from processors.voting import counting
from schemas.errors import LinesightError, Refused
from schemas.frames import Frame
from schemas.inspections import Timings
from schemas.object_store import ObjectMissing, ObjectStore
from schemas.patience import patiently
from schemas.plant import Camera, Plant
from schemas.reasons import RefusalReason
from schemas.recipes import ModelPin, Recipe, View
from schemas.settings import BudgetSettings
from schemas.telemetry import Noticed, Stage
from topologies.byte_budget import ByteBudget
from topologies.job_batches import JobBatches
from topologies.references import References
from topologies.triton import Model, ModelFailed, Triton

MOST_PX_ON_THE_LOOP = 500_000
"""A difference map larger than this is looked at in a thread: below, moving there costs more than the look."""

BYTES_PER_PX = 4
"""Decoded, laid over, in the request, and its difference map, with room."""

Image = npt.NDArray[np.uint8]
Result = TypeVar("Result")
_NO_CROPS: Image = np.zeros((0, 2, CROP_PX, CROP_PX), np.uint8)
_NOTHING: npt.NDArray[np.float32] = np.zeros((0, len(CLASSIFIER_OUTPUTS)), np.float32)


@dataclass(frozen=True, slots=True)
class _Prepared:
    laid: LaidFrame
    decode_ms: float
    align_ms: float


@dataclass(frozen=True, slots=True)
class _Found:
    """`unusual` is the anomaly score where there are no candidates."""

    candidates: Sequence[Candidate]
    crops: Image
    unusual: float


def models_of(plant: Plant) -> list[Model]:
    """The models that a plant's recipes pin, each with an input on which it must work."""
    picture = np.zeros((1, 1, 64, 64), np.uint8)
    crops = np.zeros((1, 2, CROP_PX, CROP_PX), np.uint8)
    models: dict[tuple[str, int], Model] = {}
    for recipe in plant.recipes:
        compare, classifier = recipe.inspection.compare, recipe.inspection.classifier
        models[compare.name, compare.version] = Model(
            pin=compare, outputs=("difference",), known={"image": picture, "reference": picture}
        )
        models[classifier.name, classifier.version] = Model(
            pin=classifier, outputs=("probabilities",), known={"crops": crops}
        )
    return list(models.values())


class FrameExaminer:
    """Examines frames side by side, as many at a time as their decoded pixels and Triton's slots allow."""

    def __init__(
        self,
        *,
        plant: Plant,
        triton: Triton,
        references: References,
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
        self._triton = triton
        self._references = references
        self._store = store
        self._stage = stage
        self._executor = executor
        self._fetching = fetching
        self._preparing = JobBatches(executor=executor, threads=threads)
        limit_bytes = BudgetSettings().decoded_bytes
        self._missing: set[str] = set()
        self._room = ByteBudget(
            limit_bytes=limit_bytes, limit_count=limit_count, used=stage.budget("decoded", limit_bytes=limit_bytes)
        )

    async def warm_up(self) -> None:
        """Tries the models with the sizes of the recipes' references, so that the first part is not late. Before it: `lacking`."""
        await self._triton.warm_up()

    async def lacking(self) -> tuple[str, ...]:
        """Loads the recipes' references, as many as there is room for; returns the recipes (`name@revision`) that lack one.

        A reference that is missing is noticed; frames of its view are refused until it is there.
        """
        lacking = {
            recipe.key
            for recipe in self._plant.recipes
            for view in recipe.views
            if not await self._has_reference(recipe, view)
        }
        return tuple(sorted(lacking))

    async def _has_reference(self, recipe: Recipe, view: View) -> bool:
        camera = next((each for each in self._plant.cameras.values() if view.name in each.views), None)
        if view.reference is None or camera is None or not self._references.has_room:
            return True  # a frame brings its own, nobody takes the view, or it is loaded when it is needed
        try:
            reference = await self._references.get(
                file=view.reference,
                tolerance=view.tolerance,
                digest=None,
                settings=recipe.inspection,
                camera=camera,
            )
        except Refused as refused:
            if view.reference not in self._missing:  # it is looked for again and again, and told once
                self._missing.add(view.reference)
                self._stage.emit(Noticed(what=refused.reason, subject=view.reference, detail=refused.detail))
            return False
        self._missing.discard(view.reference)
        picture = reference.comparison.half_reference[None, None]
        self._triton.know(recipe.inspection.compare, {"image": picture, "reference": picture})
        return True

    async def examine(
        self, frame: Frame, place: FramePlace, *, begin: Callable[[], None] = lambda: None
    ) -> Examination:
        """What is on a frame. Raises Refused with the reason for which it cannot be inspected.

        `begin` is called when there is room for the frame, before any work on it; what it raises goes to the caller.
        """
        started = time.perf_counter()
        queue_ms = max(0.0, time.time_ns() - place.received_at_ns) / 1e6
        assignment = self._checks.check(frame)
        camera, recipe = assignment.camera, assignment.recipe
        # a frame that lies about its size is refused before it is decoded, so its claim may be trusted here
        claimed_px = min(frame.width_px, camera.max_width_px) * min(frame.height_px, camera.max_height_px)
        fetched_bytes = 0 if frame.uri is None else min(frame.size_bytes, camera.max_image_bytes)
        async with self._room.hold(BYTES_PER_PX * max(0, claimed_px) + max(0, fetched_bytes)):
            begin()
            content = await self._content(frame, camera)
            reference = await self._references.get(
                file=assignment.view.reference,
                tolerance=assignment.view.tolerance,
                digest=frame.reference,
                settings=recipe.inspection,
                camera=camera,
            )
            comparison = reference.comparison
            prepared = await self._preparing.run(
                partial(self._working, frame, partial(_prepare, frame, content, camera, comparison))
            )
            inferring = time.perf_counter()
            difference = await self._compare(recipe.inspection.compare, comparison, prepared.laid)
            infer_s = time.perf_counter() - inferring
            if difference.size > MOST_PX_ON_THE_LOOP:
                look = partial(_look, comparison, prepared.laid, difference)
                found = await self._in_thread(self._working, frame, look)
            elif comparison.differs(prepared.laid, difference):
                search = partial(_search, comparison, prepared.laid, difference)
                found = await self._in_thread(self._working, frame, search)
            else:
                found = _Found((), _NO_CROPS, anomaly_score(difference, _NOTHING))
            inferring = time.perf_counter()
            probabilities = await self._classify(recipe.inspection.classifier, found.crops)
            infer_s += time.perf_counter() - inferring
            defects = comparison.defects(prepared.laid, found.candidates, probabilities)
            if not counting(defects, recipe):
                _check_explained(comparison.unexplained_ratio(prepared.laid, found.candidates, probabilities), recipe)
            return Examination(
                defects=defects,
                anomaly_score=anomaly_score(difference, probabilities) if found.candidates else found.unusual,
                models=(
                    self._triton.use(recipe.inspection.compare),
                    self._triton.use(recipe.inspection.classifier),
                ),
                reference=reference.digest,
                tolerance=reference.tolerance_digest,
                timings=Timings(
                    queue_ms=queue_ms,
                    decode_ms=prepared.decode_ms,
                    align_ms=prepared.align_ms,
                    infer_ms=infer_s * 1000,
                    total_ms=(time.perf_counter() - started) * 1000,
                ),
                imaging=prepared.laid.imaging,
            )

    async def _content(self, frame: Frame, camera: Camera) -> bytes:
        if frame.image is not None:
            return frame.image
        if frame.uri is None:
            raise Refused(RefusalReason.OBJECT_MISSING, "the frame has neither an image nor a uri")
        check_limit_bytes(frame.size_bytes, camera)
        get = partial(self._store.get, limit_bytes=camera.max_image_bytes)
        read = partial(asyncio.get_running_loop().run_in_executor, self._fetching, get, frame.uri)
        try:
            return await patiently(read, stage=self._stage, service="store")
        except ObjectMissing as error:
            raise Refused(
                RefusalReason.OBJECT_MISSING, f"the object store has no usable {frame.uri}: {error}"
            ) from error

    async def _compare(self, pin: ModelPin, comparison: GoldenComparison, laid: LaidFrame) -> Image:
        inputs = {"image": laid.image[None, None], "reference": comparison.half_reference[None, None]}
        answer = await self._infer(pin, inputs)
        return np.asarray(answer["difference"][0, 0], np.uint8)

    async def _classify(self, pin: ModelPin, crops: Image) -> npt.NDArray[np.float32]:
        if len(crops) == 0:
            return _NOTHING
        rows = self._triton.most_rows(pin) or 1
        slices = [crops[first : first + rows] for first in range(0, len(crops), rows)]
        answers = await asyncio.gather(*(self._infer(pin, {"crops": some}) for some in slices))
        return np.concatenate([np.asarray(answer["probabilities"], np.float32) for answer in answers])

    async def _infer(self, pin: ModelPin, inputs: dict[str, Image]) -> dict[str, npt.NDArray[np.generic]]:
        try:
            return await self._triton.infer(pin, inputs)
        except ModelFailed as error:
            raise Refused(RefusalReason.MODEL_FAILED, str(error)) from error

    def _working(self, frame: Frame, work: Callable[[], Result]) -> Result:
        """What `work` makes of the frame. A defect that only this picture brings out costs this picture, not the line."""
        try:
            return work()
        except (LinesightError, MemoryError):
            raise
        except Exception as error:
            self._stage.log.error("inspection_failed", frame=frame.id, exc_info=error)
            raise Refused(RefusalReason.INSPECTION_FAILED, f"our code failed on this picture: {error!r}") from error

    async def _in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)


def _prepare(frame: Frame, content: bytes, camera: Camera, comparison: GoldenComparison) -> _Prepared:
    started = time.perf_counter()
    image = decode_frame(frame, content, camera=camera)
    decoded = time.perf_counter()
    if image.shape != comparison.reference.shape:
        height_px, width_px = comparison.reference.shape
        raise Refused(
            RefusalReason.SIZE_MISMATCH,
            f"the frame is {frame.width_px}x{frame.height_px} px, its reference {width_px}x{height_px} px",
        )
    try:
        laid = comparison.lay_over(image)
    except AlignmentFailed as error:
        raise Refused(RefusalReason.NOT_ALIGNED, str(error)) from error
    if camera.repeats == "refuse":  # only where noise is: without it rows of a whole picture are often the same
        check_last_rows(image, comparison.reference, moved_px=laid.alignment.motion.reach_px())
    aligned = time.perf_counter()
    return _Prepared(laid, (decoded - started) * 1000, (aligned - decoded) * 1000)


def _check_explained(unexplained_ratio: float, recipe: Recipe) -> None:
    limit = recipe.inspection.max_unexplained_ratio
    if unexplained_ratio > limit:
        raise Refused(
            RefusalReason.UNEXPLAINED_DIFFERENCE,
            f"{unexplained_ratio:.1%} of the picture differ from the reference and are no known defect; at most {limit:.1%} "
            "(max_unexplained_ratio) are expected: look at the picture",
        )


def _look(comparison: GoldenComparison, laid: LaidFrame, difference: Image) -> _Found:
    if comparison.differs(laid, difference):
        return _search(comparison, laid, difference)
    return _Found((), _NO_CROPS, anomaly_score(difference, _NOTHING))


def _search(comparison: GoldenComparison, laid: LaidFrame, difference: Image) -> _Found:
    candidates = comparison.candidates(laid, difference)
    # of a frame without candidates the whole map is looked at: too much for the event loop
    unusual = 0.0 if candidates else anomaly_score(difference, _NOTHING)
    return _Found(candidates, comparison.crops(laid, candidates), unusual)
