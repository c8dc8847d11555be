"""`pair_segmenter`: where and what, learned from pictures beside their references and marked polygons or boxes."""

from collections.abc import Sequence

from schemas.errors import ConfigurationError
from training.families.segmenter import class_names, with_places
from training.families.task import Task, segmentation
from training.labels import Sample


def task(samples: Sequence[Sample]) -> Task:
    """As `segmenter`, and every sample has a reference.

    Raises:
        ConfigurationError: nothing is marked, or a reference is missing.
    """
    placed = with_places(samples, "pair_segmenter")
    for sample in placed:
        if sample.reference is None:
            raise ConfigurationError(
                f"pair_segmenter: {sample.name} (line {sample.line}): expected `reference` or `template`, the picture of a "
                "good part; without references train `segmenter`"
            )
    return segmentation("pair_segmenter", placed, class_names(placed), paired=True)
