"""The settings in a trained model's folder, beside the weights."""

from pathlib import Path

from processors.learned.settings import FAMILIES, FILE, ModelSettings, read_model_settings
from schemas.errors import ConfigurationError

__all__ = ["FAMILIES", "FILE", "ModelSettings", "read_settings"]


def read_settings(folder: Path) -> ModelSettings:
    """The settings of a trained model.

    Raises:
        ConfigurationError: the folder holds none that can be read.
    """
    try:
        return read_model_settings((folder / FILE).read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: expected a folder that `linesight train --out` wrote: {FILE}: {error.strerror}"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"{folder / FILE}: {error}") from error
