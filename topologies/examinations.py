"""How a frame is examined, by the kind of inspection that its view has: one place for the line, the backfill and the shadow."""

from __future__ import annotations

from processors.frame_checks import Assignment
from processors.inspection import Examination
from schemas.frames import Frame
from schemas.recipes import GoldenInspection, ViewInspection
from topologies.asked_models import AskedModels
from topologies.golden_examination import GoldenExamination
from topologies.learned_examination import LearnedExamination
from topologies.picture_work import PictureWork
from topologies.references import References


class Examinations:
    """Every kind of examination, over one client of the inference server."""

    def __init__(self, *, triton: AskedModels, references: References, work: PictureWork) -> None:
        self._golden = GoldenExamination(triton=triton, references=references, work=work)
        self._learned = LearnedExamination(triton=triton, references=references, work=work)

    def bytes_per_px(self, inspection: ViewInspection) -> float:
        """What a frame holds while it is examined, at most, per px."""
        match inspection:
            case GoldenInspection() as golden:
                return self._golden.bytes_per_px(golden)
            case learned:
                return self._learned.bytes_per_px(learned)

    async def load_reference(self, assignment: Assignment) -> None:
        """Loads the reference that the view names. Raises Refused `missing_reference`, ModelUnusable."""
        match assignment.inspection:
            case GoldenInspection() as golden if assignment.view.reference is not None:
                await self._golden.load_reference(golden, assignment)
            case GoldenInspection():
                pass  # a frame brings its own
            case learned:
                await self._learned.load_reference(learned, assignment)

    async def examine(self, assignment: Assignment, frame: Frame, content: bytes) -> Examination:
        """What is on a frame. Raises Refused with the reason for which it cannot be inspected."""
        match assignment.inspection:
            case GoldenInspection() as golden:
                return await self._golden.examine(golden, assignment, frame, content)
            case learned:
                return await self._learned.examine(learned, assignment, frame, content)
