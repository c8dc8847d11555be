"""`anomaly`: how unusual, and where, learned from good parts only by recognising defects that are drawn into them."""

from collections.abc import Sequence

from schemas.errors import ConfigurationError
from training.families.task import Task, segmentation
from training.labels import Sample
from training.synthetic_defects import SyntheticDefects

CLASS = "anomaly"


def task(samples: Sequence[Sample]) -> Task:
    """Learns from samples that are good, or of which nobody says anything; beside their references where all have one.

    Raises:
        ConfigurationError: there is no good part.
    """
    good = [sample for sample in samples if not sample.bad]
    if not good:
        raise ConfigurationError(
            'anomaly: no training image is of a good part; expected rows with `label`: "good", with empty `boxes`, or '
            "without labels"
        )
    paired = all(sample.reference is not None for sample in good)
    return segmentation("anomaly", good, [CLASS], paired=paired, draw=SyntheticDefects(paired=paired))
