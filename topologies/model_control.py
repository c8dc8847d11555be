"""Models on the inference server: loaded in their pinned version, proved on a known input, identified, taken out.

The server loads and unloads a model by its name, with every version that its `version_policy` names. "Ready" as it says it tells
nothing about a dead or hung model process; the known input does. A model that fails on it is taken out, to be loaded by the
next attempt: the server does not start a dead model process by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy.typing as npt
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from processors.learned.settings import DIGEST
from schemas.errors import ConfigurationError
from schemas.inspections import ModelUse
from schemas.recipes import ModelPin
from schemas.settings import TritonSettings
from topologies.served_config import check_outputs, empty_input, folder_settings, parameters_of, weights_digest
from topologies.shared_tensors import TYPES
from topologies.triton_errors import is_away, is_busy, is_late, text_of

Tensors = Mapping[str, npt.NDArray[Any]]
Key = tuple[str, int]
"""Name and version of a model."""
Told = Callable[[ModelPin], Mapping[str, str]]
"""What the registry says of a version, as parameters; empty where it says nothing."""

LOAD_TIMEOUT_S = 30.0
LOAD_TRIES = 3
"""A load that changes nothing met another client's unload: it is tried again before the version counts as missing."""
ASK_TIMEOUT_S = 2.0
UNLOAD_LOOKS = 100
LOOK_PAUSE_S = 0.05
UNKNOWN = "unknown"
PROOFS_FAILED = 3
PROOFS_LATE = 6
"""A model that is to be held and fails, or is late, so many times on its known input is unusable."""


class ModelUnusable(ConfigurationError):
    """The server does not have the model in its pinned version, cannot load it, or it fails on its known input again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as this stage uses it. `known` is a small input on which it must give `outputs` of one row or more.

    Without it the model is tried on zeros, in the shape that its configuration asks for.
    """

    pin: ModelPin
    outputs: tuple[str, ...]
    known: Tensors | None = None

    @property
    def key(self) -> Key:
        """Name and version."""
        return self.pin.name, self.pin.version


class Trouble:
    """What went wrong with one model on a server that is there."""

    def __init__(self) -> None:
        self._failed = self._late = 0

    def note(self, error: InferenceServerException) -> bool:
        """Whether the model counts as unusable from now on."""
        if is_late(error):
            self._late += 1
        elif not (is_away(error) or is_busy(error)):
            self._failed += 1
        return self._failed >= PROOFS_FAILED or self._late >= PROOFS_LATE


class ModelControl:
    """One server's models, as one client commands them."""

    def __init__(self, *, client: InferenceServerClient, settings: TritonSettings, told: Told) -> None:
        self._client = client
        self._settings = settings
        self._told = told
        self._most_rows: dict[Key, int] = {}
        self._uses: dict[Key, ModelUse] = {}
        self._parameters: dict[Key, Mapping[str, str]] = {}
        self._in_folder: dict[Key, Mapping[str, str]] = {}
        self._empty: dict[Key, Tensors] = {}

    def most_rows(self, pin: ModelPin) -> int:
        """How many rows the model takes in one request (its `max_batch_size`); 0 where its rows cannot be batched."""
        return self._most_rows[pin.name, pin.version]

    def use(self, pin: ModelPin) -> ModelUse:
        """Version and digest of a loaded model, as an inspection carries them."""
        use = self._uses[pin.name, pin.version]
        if use.digest != UNKNOWN:
            return use
        return msgspec.structs.replace(use, digest=self._told(pin).get(DIGEST, UNKNOWN))

    def parameters(self, pin: ModelPin) -> Mapping[str, str]:
        """The parameters of a loaded version: of the served configuration, else of its release, else of its folder on this machine."""
        key = pin.name, pin.version
        return {**self._in_folder[key], **self._told(pin), **self._parameters[key]}

    def empty_input(self, pin: ModelPin) -> Tensors:
        """One row of zeros, in the shape that a loaded model's configuration asks for."""
        return self._empty[pin.name, pin.version]

    async def load(self, model: Model) -> None:
        """Returns when the model is ready in its version. Raises ModelUnusable, and InferenceServerException for what may pass."""
        pin = model.pin
        for _ in range(LOAD_TRIES):
            if await self.is_ready(pin):
                break
            await self._ask_to_load(pin)
            if await self.is_ready(pin):
                break
            await asyncio.sleep(LOOK_PAUSE_S)
        else:
            raise ModelUnusable(
                f"Triton at {self._settings.url} has {pin.name}, but not version {pin.version}: add the version to the "
                f"model repository, or pin one that is there in the plant file"
            )
        await self._identify(model)

    async def unload(self, pin: ModelPin) -> None:
        """Takes the model out, with all of its versions; what is under way is answered. Returns when the server has done so."""
        await self._client.unload_model(pin.name, client_timeout=LOAD_TIMEOUT_S)
        for _ in range(UNLOAD_LOOKS):  # it answers before, and a load in between would do nothing
            if not await self.is_ready(pin):
                return
            await asyncio.sleep(LOOK_PAUSE_S)

    def forget(self, pin: ModelPin) -> None:
        """What is known of a model that is not used any more."""
        for known in (self._most_rows, self._uses, self._parameters, self._in_folder, self._empty):
            known.pop((pin.name, pin.version), None)

    async def prove(self, model: Model, known: Tensors, *, timeout_s: float, patient: bool, shared: bool) -> None:
        """An inference of the known input. A model that fails on it, or hangs, is unloaded, to be loaded by the next attempt.

        One that answers too late and has executed others meanwhile does not hang: it has much to do. One that is `shared` has another
        version at work, and stays.
        """
        executed = await self._executions(model.pin)
        try:
            await self.infer(model, known, timeout_s=timeout_s)
        except InferenceServerException as error:
            spared = shared or is_away(error) or is_busy(error)
            if is_late(error) and not shared:
                spared = patient or await self._executions(model.pin) > executed
            if not spared:
                await self.unload(model.pin)
            raise

    async def infer(self, model: Model, inputs: Tensors, *, timeout_s: float) -> dict[str, npt.NDArray[Any]]:
        """One request with the tensors in it."""
        tensors = []
        for name, array in inputs.items():
            tensor = InferInput(name, array.shape, TYPES[array.dtype])
            tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        wanted = [InferRequestedOutput(name) for name in model.outputs]
        result = await self.ask(model, tensors, wanted, timeout_s)
        outputs = {name: result.as_numpy(name) for name in model.outputs}
        for name, array in outputs.items():
            if array is None or array.size == 0:
                raise InferenceServerException(f"output {name} is empty", status="StatusCode.INTERNAL")
        return outputs

    async def ask(
        self, model: Model, tensors: list[InferInput], wanted: list[InferRequestedOutput], timeout_s: float
    ) -> InferResult:
        """One request as the server's client takes it."""
        return await self._client.infer(
            model.pin.name,
            tensors,
            model_version=str(model.pin.version),
            outputs=wanted,
            client_timeout=timeout_s,
        )

    async def _ask_to_load(self, pin: ModelPin) -> None:
        try:
            await self._client.load_model(pin.name, client_timeout=LOAD_TIMEOUT_S)
        except InferenceServerException as error:
            if is_late(error) or (is_away(error) and "failed to load" not in text_of(error)):
                raise
            raise ModelUnusable(f"Triton at {self._settings.url} cannot load {pin.name}: {text_of(error)}") from error

    async def is_ready(self, pin: ModelPin) -> bool:
        """Whether the server has the model loaded in its version."""
        return bool(await self._client.is_model_ready(pin.name, str(pin.version), client_timeout=ASK_TIMEOUT_S))

    async def _executions(self, pin: ModelPin) -> int:
        """How many requests or batches the server has executed with the model since it was loaded."""
        answer = await self._client.get_inference_statistics(pin.name, str(pin.version), client_timeout=ASK_TIMEOUT_S)
        return sum(int(model.execution_count) for model in answer.model_stats)

    async def _identify(self, model: Model) -> None:
        pin = model.pin
        if (pin.name, pin.version) in self._uses:
            return
        answer = await self._client.get_model_config(pin.name, str(pin.version), client_timeout=ASK_TIMEOUT_S)
        check_outputs(answer.config, pin, model.outputs)
        key = pin.name, pin.version
        self._most_rows[key] = answer.config.max_batch_size
        self._parameters[key] = parameters_of(answer.config, pin)
        self._in_folder[key] = folder_settings(self._settings.repositories, pin)
        self._empty[key] = empty_input(answer.config)
        # in a thread: large weights are read and hashed for long, and live frames are on this loop
        read = await asyncio.to_thread(weights_digest, self._settings.repositories, pin)
        digest = read or self._parameters[key].get(DIGEST)
        self._uses[key] = ModelUse(model=pin.name, version=pin.version, digest=digest or UNKNOWN)
