"""How the client brings a server back: who is spared, who is loaded anew, and what is a matter of configuration.

Triton itself is in tests/integration; here its answers come in orders that a real one gives once a year.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from schemas.errors import ConfigurationError
from schemas.recipes import ModelPin
from schemas.settings import TritonSettings
from topologies.model_control import Model, ModelControl

PIN = ModelPin(name="compare", version=2)
MODEL = Model(pin=PIN, outputs=("difference",), known={"image": np.zeros((1, 1), np.uint8)})
LATE = InferenceServerException("Deadline Exceeded", status="StatusCode.DEADLINE_EXCEEDED")


class Server:
    """Answers as it is told. `executions`: what the statistics say, one look after the other."""

    def __init__(self, *, executions: list[int], loading: InferenceServerException | None = None) -> None:
        self.unloaded = 0
        self._executions = list(executions)
        self._loading = loading

    async def infer(self, *_: Any, **__: Any) -> None:
        raise LATE

    async def get_inference_statistics(self, *_: Any, **__: Any) -> Any:
        count = self._executions.pop(0)
        model = type("Statistics", (), {"execution_count": count})
        return type("Answer", (), {"model_stats": [model]})

    async def unload_model(self, *_: Any, **__: Any) -> None:
        self.unloaded += 1

    async def load_model(self, *_: Any, **__: Any) -> None:
        if self._loading is not None:
            raise self._loading

    async def is_model_ready(self, *_: Any, **__: Any) -> bool:
        return False

    async def close(self) -> None:
        """Nothing to close."""


def control_of(server: Server) -> ModelControl:
    return ModelControl(client=server, settings=TritonSettings())


@pytest.mark.parametrize(
    ("executions", "patient", "unloaded"),
    [
        ([7, 9], False, 0),  # it answered others meanwhile: it has much to do
        ([7, 7], False, 1),  # it answered nobody: it hangs
        ([7], True, 0),  # everything is cold
    ],
)
async def test_a_model_that_answers_others_is_not_taken_for_one_that_hangs(
    executions: list[int], patient: bool, unloaded: int
) -> None:
    server = Server(executions=executions)
    with pytest.raises(InferenceServerException, match="Deadline"):
        await control_of(server).prove(MODEL, MODEL.known, timeout_s=0.1, patient=patient, shared=False)
    assert server.unloaded == unloaded


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (LATE, InferenceServerException),  # it loads slowly: tried again
        (InferenceServerException("Socket closed", status="StatusCode.UNAVAILABLE"), InferenceServerException),
        (InferenceServerException("failed to load 'compare'", status="StatusCode.UNAVAILABLE"), ConfigurationError),
        (InferenceServerException("no such model", status="StatusCode.INVALID_ARGUMENT"), ConfigurationError),
    ],
)
async def test_only_a_refusal_to_load_is_a_matter_of_configuration(
    answer: InferenceServerException, raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        await control_of(Server(executions=[], loading=answer)).load(MODEL)
