"""Examination of a frame by a trained model: the same steps as `linesight evaluate` takes, with Triton in the place of onnxruntime."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from processors.decoding import Image, decode_frame_in_colour
from processors.frame_checks import Assignment
from processors.golden.alignment import AlignmentFailed
from processors.inspection import Examination
from processors.learned.answers import INPUT, Answering, AnswerUnusable, Outputs, Question, questions, score_of
from processors.learned.form import Form, Picture, grey
from processors.learned.judgement import Judgement, judged, judged_good
from processors.learned.paired_reference import LaidReference, PairedReference
from processors.learned.settings import SETTINGS, ModelSettings, as_recipe_says, read_model_settings
from processors.missing_rows import check_last_rows
from schemas.errors import Refused
from schemas.frames import Frame
from schemas.inspection_checks import family_of
from schemas.inspections import Timings
from schemas.plant import Camera
from schemas.reasons import RefusalReason
from schemas.recipes import LearnedInspection, ModelPin, PairSegmenterInspection
from topologies.asked_models import AskedModels
from topologies.picture_work import PictureWork
from topologies.references import PairPreparation, Reference, References
from topologies.triton import ModelFailed, ModelUnusable

DECODED_BYTES_PER_PX = 3
COPIES = 3
"""Of the model's input: shaped, as questions, and in the request."""
MOST_BYTES_PER_PX = DECODED_BYTES_PER_PX + 6.0 * COPIES + 1
"""Of a pair in colour at full scale, with its maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """`shape`: height and width of the picture at the model's scale."""

    questions: Sequence[Question]
    shape: tuple[int, ...]
    laid: LaidReference | None
    decode_ms: float
    align_ms: float


class LearnedExamination:
    """Examines frames of views that a model of the families of `linesight train` inspects."""

    def __init__(self, *, triton: AskedModels, references: References, work: PictureWork) -> None:
        self._triton = triton
        self._references = references
        self._work = work
        self._settings: dict[LearnedInspection, ModelSettings] = {}

    def bytes_per_px(self, inspection: LearnedInspection) -> float:
        """What a frame holds while it is examined, at most, per px; until the model is loaded that of the largest."""
        settings = self._settings.get(inspection)
        if settings is None:
            return MOST_BYTES_PER_PX
        share = settings.scale**2
        return DECODED_BYTES_PER_PX + share * (COPIES * _form(settings).channels + 1)

    async def load_reference(self, inspection: LearnedInspection, assignment: Assignment) -> None:
        """Loads the reference that the view names, if the model compares with one. Raises Refused `missing_reference`.

        The model is held by then. Raises ModelUnusable for one that is not what the recipe says.
        """
        await self._reference(inspection, self._settings_of(inspection), assignment, digest=None)

    async def examine(
        self, inspection: LearnedInspection, assignment: Assignment, frame: Frame, content: bytes
    ) -> Examination:
        """What is on a frame. Raises Refused with the reason for which it cannot be inspected."""
        settings = self._settings_of(inspection)
        reference = await self._reference(inspection, settings, assignment, digest=frame.reference)
        paired = None if reference is None else reference.prepared
        prepared = await self._work.prepare(
            frame, partial(_prepare, frame, content, assignment.camera, settings, paired)
        )
        inferring = time.perf_counter()
        outputs = await asyncio.gather(*(self._ask(inspection.model, question) for question in prepared.questions))
        infer_ms = (time.perf_counter() - inferring) * 1000
        judgement = await self._judgement(frame, prepared, outputs, settings)
        return Examination(
            defects=judgement.defects,
            anomaly_score=judgement.anomaly_score,
            models=(self._triton.use(inspection.model),),
            reference=None if reference is None else reference.digest,
            timings=Timings(decode_ms=prepared.decode_ms, align_ms=prepared.align_ms, infer_ms=infer_ms),
            imaging=None if prepared.laid is None else prepared.laid.imaging,
            heat_map=judgement.heat_map,
        )

    def _settings_of(self, inspection: LearnedInspection) -> ModelSettings:
        """As the served model says, with the recipe's thresholds. Raises ModelUnusable; Refused where the model is not loaded."""
        if inspection not in self._settings:
            if not self._triton.holds(inspection.model):
                raise Refused(
                    RefusalReason.MODEL_FAILED, f"{inspection.model.name}/{inspection.model.version} is not loaded"
                )
            text = self._triton.parameters(inspection.model).get(SETTINGS)
            self._settings[inspection] = as_recipe_says(_read(text, inspection), inspection)
        return self._settings[inspection]

    async def _reference(
        self, inspection: LearnedInspection, settings: ModelSettings, assignment: Assignment, *, digest: str | None
    ) -> Reference[PairedReference] | None:
        if not settings.paired or not isinstance(inspection, PairSegmenterInspection):
            return None
        return await self._references.get(
            file=assignment.view.reference,
            tolerance=None,
            digest=digest,
            preparation=PairPreparation(inspection, settings.colour),
            camera=assignment.camera,
        )

    async def _ask(self, pin: ModelPin, question: Question) -> Outputs:
        try:
            return await self._triton.infer(pin, {INPUT: question.image})
        except ModelFailed as error:
            raise Refused(RefusalReason.MODEL_FAILED, str(error)) from error

    async def _judgement(
        self, frame: Frame, prepared: _Prepared, outputs: Sequence[Outputs], settings: ModelSettings
    ) -> Judgement:
        """Of most frames the score says all; only those with something on them cost a look at their maps, in a thread."""
        try:
            good = judged_good(max(score_of(each) for each in outputs), settings)
            if good is not None:
                return good
            return await self._work.in_thread(frame, partial(_judged, frame, prepared, outputs, settings))
        except AnswerUnusable as error:
            raise Refused(RefusalReason.MODEL_FAILED, f"the model's answer cannot be used: {error}") from error


def _read(text: str | None, inspection: LearnedInspection) -> ModelSettings:
    model = f"model {inspection.model.name} version {inspection.model.version}"
    if not text:
        raise ModelUnusable(
            f"{model}: its configuration at the server has no parameter `{SETTINGS}/{inspection.model.version}`: serve a folder that "
            "`linesight train` wrote, with the config.pbtxt that is in it; or name the repository where its model.json lies "
            "(TRITON_TRAINED_MODELS)"
        )
    try:
        settings = read_model_settings(text)
    except ValueError as error:
        raise ModelUnusable(
            f"{model}: its `{SETTINGS}`, of the server's configuration or its model.json: {error}"
        ) from error
    if settings.family != family_of(inspection):
        raise ModelUnusable(
            f"{model} is a {settings.family}: write `type: {settings.family}` in the recipe in place of "
            f"`{family_of(inspection)}`, or pin another model"
        )
    return settings


def _form(settings: ModelSettings) -> Form:
    return Form(colour=settings.colour, scale=settings.scale, paired=settings.paired)


def _prepare(
    frame: Frame, content: bytes, camera: Camera, settings: ModelSettings, paired: PairedReference | None
) -> _Prepared:
    started = time.perf_counter()
    picture = decode_frame_in_colour(frame, content, camera=camera)
    decoded = time.perf_counter()
    laid = None if paired is None else _laid(frame, picture, camera, paired)
    aligned = time.perf_counter()
    shaped: Picture = _form(settings).joined(picture, None if laid is None else laid.picture)
    asked = tuple(questions(shaped, settings))
    shaping_s = time.perf_counter() - aligned
    return _Prepared(
        questions=asked,
        shape=shaped.shape[:2],
        laid=laid,
        decode_ms=(decoded - started + shaping_s) * 1000,
        align_ms=(aligned - decoded) * 1000,
    )


def _laid(frame: Frame, picture: Image, camera: Camera, paired: PairedReference) -> LaidReference:
    if picture.shape[:2] != paired.grey.shape:
        height_px, width_px = paired.grey.shape
        raise Refused(
            RefusalReason.SIZE_MISMATCH,
            f"the frame is {frame.width_px}x{frame.height_px} px, its reference {width_px}x{height_px} px",
        )
    try:
        laid = paired.laid_under(picture)
    except AlignmentFailed as error:
        raise Refused(RefusalReason.NOT_ALIGNED, str(error)) from error
    if camera.repeats == "refuse":  # as golden comparison does: only where noise is
        check_last_rows(grey(picture), paired.grey, moved_px=laid.alignment.motion.reach_px())
    return laid


def _judged(frame: Frame, prepared: _Prepared, outputs: Sequence[Outputs], settings: ModelSettings) -> Judgement:
    answering = Answering(settings, shape=prepared.shape)
    try:
        for question, answered in zip(prepared.questions, outputs, strict=True):
            answering.add(question, answered)
        return judged(answering.answer(), settings, (frame.width_px, frame.height_px))
    except AnswerUnusable as error:
        raise Refused(RefusalReason.MODEL_FAILED, f"the model's answer cannot be used: {error}") from error
