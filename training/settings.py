"""What a trained model's folder says beside the weights, so that `evaluate` and a line do with pictures what training did."""

from pathlib import Path

import msgspec

from schemas.errors import ConfigurationError

FILE = "model.json"
FAMILIES = ("pair_segmenter", "segmenter", "anomaly", "classifier")


class ModelSettings(msgspec.Struct, kw_only=True, frozen=True):
    """How the model takes pictures and how its answers are read.

    Attributes:
        scale: factor by which pictures are reduced first.
        box_share: share of the marked boxes' sides that counted as defect; found regions are grown by its inverse.
        least_area_px: a found region that is smaller (at the model's scale) is none.
        map_threshold: strength, 0 to 1, from which a place is a defect.
        box_threshold: score from which a found region is reported.
        threshold: score from which the part is bad.
        size_px: (width, height) of a classifier's input.
    """

    family: str
    classes: list[str]
    colour: bool
    scale: float
    paired: bool
    box_share: float = 1.0
    least_area_px: float = 4.0
    map_threshold: float = 0.5
    box_threshold: float = 0.5
    threshold: float = 0.5
    size_px: tuple[int, int] | None = None


def read_settings(folder: Path) -> ModelSettings:
    """The settings of a trained model.

    Raises:
        ConfigurationError: the folder holds none that can be read.
    """
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=ModelSettings)
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: expected a folder that `linesight train --out` wrote: {FILE}: {error.strerror}"
        ) from error
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{folder / FILE}: {error}") from error
