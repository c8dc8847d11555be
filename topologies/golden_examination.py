"""Golden examination of a frame: align in threads, compare in Triton, classify what differs in Triton."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from processors.decoding import decode_frame
from processors.frame_checks import Assignment
from processors.golden.alignment import AlignmentFailed
from processors.golden.candidates import Candidate
from processors.golden.classes import CLASSIFIER_OUTPUTS
from processors.golden.comparison import GoldenComparison, LaidFrame
from processors.golden.crops import CROP_PX
from processors.golden.findings import anomaly_score
from processors.inspection import Examination
from processors.missing_rows import check_last_rows
from processors.voting import counting
from schemas.errors import Refused
from schemas.frames import Frame
from schemas.inspections import Timings
from schemas.plant import Camera
from schemas.reasons import RefusalReason
from schemas.recipes import GoldenInspection, ModelPin
from topologies.asked_models import AskedModels
from topologies.picture_work import PictureWork
from topologies.references import GoldenPreparation, Reference, References
from topologies.triton import ModelFailed

MOST_PX_ON_THE_LOOP = 500_000
"""A difference map larger than this is looked at in a thread: below, moving there costs more than the look."""

BYTES_PER_PX = 4.0
"""Decoded, laid over, in the request, and its difference map, with room."""

Image = npt.NDArray[np.uint8]
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


class GoldenExamination:
    """Examines frames of views whose inspection is `golden`."""

    def __init__(self, *, triton: AskedModels, references: References, work: PictureWork) -> None:
        self._triton = triton
        self._references = references
        self._work = work

    def bytes_per_px(self, inspection: GoldenInspection) -> float:
        """What a frame holds while it is examined, at most, per px."""
        return BYTES_PER_PX

    async def load_reference(self, inspection: GoldenInspection, assignment: Assignment) -> None:
        """Loads the reference that the view names, and lets models be tried with its size. Raises Refused `missing_reference`."""
        reference = await self._reference(inspection, assignment, digest=None)
        picture = reference.prepared.half_reference[None, None]
        self._triton.know(inspection.compare, {"image": picture, "reference": picture})

    async def examine(
        self, inspection: GoldenInspection, assignment: Assignment, frame: Frame, content: bytes
    ) -> Examination:
        """What is on a frame. Raises Refused with the reason for which it cannot be inspected."""
        reference = await self._reference(inspection, assignment, digest=frame.reference)
        comparison = reference.prepared
        prepared = await self._work.prepare(frame, partial(_prepare, frame, content, assignment.camera, comparison))
        inferring = time.perf_counter()
        difference = await self._compare(inspection.compare, comparison, prepared.laid)
        infer_s = time.perf_counter() - inferring
        if difference.size > MOST_PX_ON_THE_LOOP:
            found = await self._work.in_thread(frame, partial(_look, comparison, prepared.laid, difference))
        elif comparison.differs(prepared.laid, difference):
            found = await self._work.in_thread(frame, partial(_search, comparison, prepared.laid, difference))
        else:
            found = _Found((), _NO_CROPS, anomaly_score(difference, _NOTHING))
        inferring = time.perf_counter()
        probabilities = await self._classify(inspection.classifier, found.crops)
        infer_s += time.perf_counter() - inferring
        defects = comparison.defects(prepared.laid, found.candidates, probabilities)
        if not counting(defects, assignment.recipe):
            _check_explained(comparison.unexplained_ratio(prepared.laid, found.candidates, probabilities), inspection)
        return Examination(
            defects=defects,
            anomaly_score=anomaly_score(difference, probabilities) if found.candidates else found.unusual,
            models=(self._triton.use(inspection.compare), self._triton.use(inspection.classifier)),
            reference=reference.digest,
            tolerance=reference.tolerance_digest,
            timings=Timings(decode_ms=prepared.decode_ms, align_ms=prepared.align_ms, infer_ms=infer_s * 1000),
            imaging=prepared.laid.imaging,
        )

    async def _reference(
        self, inspection: GoldenInspection, assignment: Assignment, *, digest: str | None
    ) -> Reference[GoldenComparison]:
        return await self._references.get(
            file=assignment.view.reference,
            tolerance=assignment.view.tolerance,
            digest=digest,
            preparation=GoldenPreparation(inspection),
            camera=assignment.camera,
        )

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


def _check_explained(unexplained_ratio: float, inspection: GoldenInspection) -> None:
    limit = inspection.max_unexplained_ratio
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
