"""`segmenter`: where and what, learned from marked polygons or boxes."""

from collections.abc import Sequence

from schemas.errors import ConfigurationError
from training.families.task import Task, segmentation
from training.labels import Sample


def task(samples: Sequence[Sample]) -> Task:
    """Learns from samples with marked places, and from good parts.

    Raises:
        ConfigurationError: nothing is marked.
    """
    placed = with_places(samples, "segmenter")
    return segmentation("segmenter", placed, class_names(placed), paired=False)


def with_places(samples: Sequence[Sample], family: str) -> list[Sample]:
    """Samples whose places are known: marked, or good all over.

    Raises:
        ConfigurationError: nothing is marked.
    """
    placed = [sample for sample in samples if sample.regions is not None or sample.bad is False]
    if not any(sample.regions for sample in placed):
        raise ConfigurationError(
            f"{family}: no training image has `boxes` or `polygons` with a defect; mark defects, or train `anomaly` (good "
            "parts only) or `classifier` (one label an image)"
        )
    return placed


def class_names(samples: Sequence[Sample]) -> list[str]:
    """Every class that was marked, in order."""
    return sorted({region.class_name for sample in samples for region in sample.regions or ()})
