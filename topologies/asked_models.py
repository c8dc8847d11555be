"""Models as an examination asks them: by the line's client, which waits and repeats, or by the shadow's, which asks once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt

from schemas.inspections import ModelUse
from schemas.recipes import ModelPin
from topologies.model_control import Tensors


class AskedModels(Protocol):
    """What an examination needs of a client of the inference server."""

    def holds(self, pin: ModelPin) -> bool:
        """Whether the model can be asked."""

    def know(self, pin: ModelPin, known: Tensors) -> None:
        """From now on tries the model with this input."""

    def most_rows(self, pin: ModelPin) -> int:
        """How many rows the model takes in one request; 0 where its rows cannot be batched."""

    def use(self, pin: ModelPin) -> ModelUse:
        """Version and digest of a loaded model."""

    def parameters(self, pin: ModelPin) -> Mapping[str, str]:
        """The parameters in a loaded model's configuration."""

    async def infer(self, pin: ModelPin, inputs: Tensors) -> dict[str, npt.NDArray[Any]]:
        """Outputs by name. Raises ModelFailed for what is the model's fault."""
