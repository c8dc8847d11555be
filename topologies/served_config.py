"""What is known of a served version beside how it is run: parameters of its configuration, its folder, what an input looks like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from processors.learned.settings import FILE, SETTINGS
from schemas.errors import ConfigurationError
from schemas.object_store import digest_of
from schemas.recipes import ModelPin

DYNAMIC_SIDE_PX = 64
"""For a side of an input that may have any size: a multiple of 16, which the model families ask for."""

_TYPES: dict[int, type[np.generic]] = {2: np.uint8, 11: np.float32}
"""`inference.DataType` of Triton's model_config.proto; what this line sends."""


def parameters_of(config: Any, pin: ModelPin) -> Mapping[str, str]:
    """The parameters (`config.pbtxt`) that are a model version's, by name.

    One configuration serves all versions: what is of version 3 alone stands as `<name>/3`, what is of all as `<name>`.
    """
    every = {str(name): str(value.string_value) for name, value in config.parameters.items()}
    ending = f"/{pin.version}"
    own = {name.removesuffix(ending): text for name, text in every.items() if name.endswith(ending)}
    return {name: text for name, text in every.items() if "/" not in name} | own


def empty_input(config: Any) -> Mapping[str, npt.NDArray[Any]]:
    """One row of zeros for every input, by name."""
    return {
        tensor.name: np.zeros(
            (1, *(side if side > 0 else DYNAMIC_SIDE_PX for side in tensor.dims)),
            _TYPES.get(tensor.data_type, np.uint8),
        )
        for tensor in config.input
    }


def check_outputs(config: Any, pin: ModelPin, outputs: Iterable[str]) -> None:
    """Raises ConfigurationError for a model that does not give them: asking it would fail again and again."""
    found = [str(tensor.name) for tensor in config.output]
    lacking = [name for name in outputs if name not in found]
    if lacking:
        raise ConfigurationError(
            f"model {pin.name} version {pin.version} gives {', '.join(found)}, and not {', '.join(lacking)}: pin a model of the "
            "family that the recipe names, or name the family of this one"
        )


def folder_settings(repositories: Iterable[Path], pin: ModelPin) -> Mapping[str, str]:
    """The settings that lie in the version's own folder, as a parameter; empty where none do on this machine."""
    for repository in repositories:
        try:
            text = (repository / pin.name / str(pin.version) / FILE).read_bytes().decode(errors="replace")
        except OSError:
            continue
        return {SETTINGS: text}
    return {}


def weights_digest(repositories: Iterable[Path], pin: ModelPin) -> str | None:
    """`sha256:<hex>` of a model version's file in the first repository that has it; None where none is on this machine."""
    for repository in repositories:
        try:
            return digest_of((repository / pin.name / str(pin.version) / "model.onnx").read_bytes())
        except OSError:
            continue
    return None
