"""A trained model as a function of a picture of any size, with onnxruntime in this process: what the line does by Triton."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from processors.learned import regions
from processors.learned.answers import CLASS_OUTPUTS, INPUT, MAP_OUTPUTS, Answer, Answering, questions
from processors.learned.settings import ModelSettings
from processors.scoring import Finding
from training.labels import GOOD, Sample
from training.local_inference import open_model
from training.pictures import Form


class Model:
    """Weights and settings of a trained model."""

    def __init__(self, weights: Path | bytes, settings: ModelSettings) -> None:
        self._session = open_model(weights)
        self.settings = settings
        self.form = Form(colour=settings.colour, scale=settings.scale, paired=settings.paired)

    def __call__(self, sample: Sample) -> Answer:
        """Answers for one picture; large ones are seen in overlapping tiles."""
        picture = self.form.load(sample)
        names = CLASS_OUTPUTS if self.settings.size_px else MAP_OUTPUTS
        answering = Answering(self.settings, shape=picture.shape)
        for question in questions(picture, self.settings):
            outputs = self._session.run(list(names), {INPUT: question.image})
            answering.add(question, dict(zip(names, outputs, strict=True)))
        return answering.answer()


def findings(answer: Answer, settings: ModelSettings, size_px: tuple[int, int]) -> list[Finding]:
    """Regions of the map as boxes in px of the picture, whose (width, height) is `size_px`; the largest first, at most 200."""
    return [
        Finding(class_name=region.class_name, box=region.box, score=region.score)
        for region in regions.regions(answer, settings, size_px)
    ]


def named_class(answer: Answer, settings: ModelSettings) -> str:
    """The class of the part: good below the threshold."""
    return answer.class_name if answer.score >= settings.threshold else GOOD


def mask(answer: Answer, settings: ModelSettings, size_px: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Places that are a defect, bool [h, w] of the picture."""
    return regions.mask(answer, settings, size_px)
