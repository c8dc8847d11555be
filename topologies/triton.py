"""The inference server, over gRPC: models loaded explicitly in pinned versions, requests repeated while it is away.

    away        no answer, or one that says so: wait until it is back, load the models again, repeat without end
    busy        its queue is full: repeat later, without end
    failed      it answers, but not this request, or its process ends while it works on this one alone: repeat a few times,
                each time after an inference of a known image showed that the server is well; then it is this image's
                fault (`ModelFailed`)

"Ready" as the server says it tells nothing about a dead or hung model process; the known image does. A model that fails on
it is taken out and loaded again: the server does not start a dead model process by itself.

Rows that wait go together in one request (`request_batches`); where that fails, each is tried by itself, one after the
other, so that the neighbours of an image that kills the model do not pay for it. A server on this machine reads and
writes shared memory (`shared_tensors`); any other gets the tensors over gRPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from schemas.errors import ConfigurationError, LinesightError
from schemas.inspections import ModelUse
from schemas.patience import pause_s
from schemas.recipes import ModelPin
from schemas.settings import TritonSettings
from schemas.telemetry import AttemptRepeated, Noticed, Stage
from topologies.request_batches import Kind, Parts, RequestBatches
from topologies.served_config import check_outputs, empty_input, parameters_of, weights_digest
from topologies.shared_tensors import (
    FOLDER,
    TYPES,
    RowOutput,
    SharedTensors,
    Slot,
    lay_inputs,
    request_bytes,
    want_outputs,
)
from topologies.triton_errors import is_away, is_busy, is_cut_off, is_late, text_of

Tensors = Mapping[str, npt.NDArray[Any]]

TRIES = 3
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
LOAD_TIMEOUT_S = 30.0
ASK_TIMEOUT_S = 2.0
LOOK_EVERY_S = 2.0
PROOF_TIMEOUT_S = 0.5  # for the first known input; each further one may take twice as long, for the machine may be slow
PROOF_DOUBLINGS = 4
PATIENCE = 1  # known inputs that may be answered too late before the model counts as hung
PATIENCE_AT_START = 4  # everything is cold, and everything else starts too
UNLOAD_LOOKS = 100
WARM_UPS = 4
CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # the default waits up to two minutes before it connects again
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # a server that hangs without closing its connections
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]
_THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]")


class ModelFailed(LinesightError):
    """The model fails on this input again and again, while it works on a known one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as this stage uses it. `known` is a small input on which it must give `outputs` of one row or more.

    Without it the model is tried on zeros, in the shape that its configuration asks for.
    """

    pin: ModelPin
    outputs: tuple[str, ...]
    known: Tensors | None = None


class Triton:
    """One client of one server, for one event loop. `owner` names it among the clients on this machine."""

    def __init__(self, *, settings: TritonSettings, stage: Stage, models: Sequence[Model], owner: str) -> None:
        self._settings = settings
        self._stage = stage
        self._models = {(model.pin.name, model.pin.version): model for model in models}
        self._client = InferenceServerClient(settings.url, channel_args=CHANNEL)
        self._known = {(m.pin.name, m.pin.version): m.known for m in models if m.known is not None}
        self._batches = RequestBatches(send=self._send, in_flight=settings.in_flight)
        self._most_rows: dict[tuple[str, int], int] = {}
        self._answers_by_kind: dict[Kind, dict[str, RowOutput]] = {}
        self._suspects = asyncio.Lock()
        self._shared = (
            SharedTensors(client=self._client, owner=owner, timeout_s=ASK_TIMEOUT_S)
            if _shares_memory(settings)
            else None
        )
        self._recovery: asyncio.Task[None] | None = None
        self._uses: dict[tuple[str, int], ModelUse] = {}
        self._parameters: dict[tuple[str, int], Mapping[str, str]] = {}
        self._well = self._was_well = False
        self._suspected = False  # a request failed, or was answered too late, though the server was there

    @property
    def ready(self) -> bool:
        """Whether the server answered the last time, with the right models loaded."""
        return self._well

    async def close(self) -> None:
        """Closes the connection."""
        if self._recovery is not None:
            self._recovery.cancel()
        await self._batches.close()
        if self._shared is not None:
            await self._shared.close()
        await self._client.close()

    async def keep_ready(self) -> None:
        """Loads the models and tries each on its known input; does so again whenever the server went away. Never returns.

        Raises ConfigurationError when the server does not have a model in its pinned version.
        """
        while True:
            await self._recovered()
            while self._well:
                await asyncio.sleep(LOOK_EVERY_S)
                if not await self._answers():
                    self._well = False

    def know(self, pin: ModelPin, known: Tensors) -> None:
        """From now on tries the model with this input: one of the size that is really used also warms it up."""
        self._known[pin.name, pin.version] = known

    async def warm_up(self) -> None:
        """Tries every model on its known input as often as it takes to be quick (buffers grow with the first requests)."""
        for model in [model for _ in range(WARM_UPS) for model in self._models.values()]:
            await self.parameters(model.pin)  # then it is loaded, and its input is known
            await self.infer(model.pin, self._known[model.pin.name, model.pin.version])

    def most_rows(self, pin: ModelPin) -> int:
        """How many rows the model takes in one request (its `max_batch_size`); 0 where its rows cannot be batched."""
        return self._most_rows[pin.name, pin.version]

    def use(self, pin: ModelPin) -> ModelUse:
        """Version and digest of a loaded model, as an inspection carries them."""
        return self._uses[pin.name, pin.version]

    async def parameters(self, pin: ModelPin) -> Mapping[str, str]:
        """The parameters in a model's configuration; waits for the server where the model was not loaded yet."""
        while (pin.name, pin.version) not in self._parameters:
            await self._recovered()
        return self._parameters[pin.name, pin.version]

    async def infer(self, pin: ModelPin, inputs: Tensors) -> dict[str, npt.NDArray[Any]]:
        """Outputs by name. Repeats what is transient as the module says; raises ModelFailed."""
        attempt = failures = 0
        while True:
            if not self._well:
                await self._recovered()
            try:
                if attempt == 0:
                    return await self._batches.infer(
                        (pin.name, pin.version),
                        inputs,
                        most_rows=self._most_rows[pin.name, pin.version],
                        timeout_s=self._settings.timeout_ms / 1000,
                    )
                async with self._suspects:
                    return await self._alone(pin, inputs)
            except InferenceServerException as error:
                attempt += 1
                self._say(f"{pin.name}: {text_of(error)}", attempt)
                if not is_busy(error):
                    self._well = False
                    self._suspected = not is_away(error)
                    # the first try may have failed for a neighbour; later ones are alone, and the server was well before
                    if attempt > 1 and (not is_away(error) or is_cut_off(error)):
                        failures += 1
                    if failures >= TRIES:
                        raise ModelFailed(
                            f"{pin.name}/{pin.version} failed {failures} times: {text_of(error)}"
                        ) from error
            await asyncio.sleep(pause_s(attempt, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S))

    async def _alone(self, pin: ModelPin, inputs: Tensors) -> dict[str, npt.NDArray[Any]]:
        if not self._well:
            await self._recovered()
        return await self._batches.infer(
            (pin.name, pin.version), inputs, most_rows=0, timeout_s=self._settings.timeout_ms / 1000
        )

    async def _answers(self) -> bool:
        try:
            return bool(await self._client.is_server_live(client_timeout=ASK_TIMEOUT_S))
        except InferenceServerException:
            return False

    # --- one request -------------------------------------------------------------------------------------------------

    async def _send(self, kind: Kind, inputs: Parts, timeout_s: float) -> dict[str, npt.NDArray[Any]]:
        """One request. The first of its kind goes over gRPC and shows how large the answers are."""
        model = self._models[kind.model]
        rows = sum(len(part) for part in next(iter(inputs.values())))
        expected = self._answers_by_kind.get(kind)
        if self._shared is not None and expected is not None:
            slot = await self._slot(self._shared, request_bytes(inputs, expected, rows))
            if slot is not None:
                return await self._infer_shared(self._shared, slot, model, inputs, expected, timeout_s=timeout_s)
        whole = {name: np.concatenate(parts) if len(parts) > 1 else parts[0] for name, parts in inputs.items()}
        outputs = await self._infer(model, whole, timeout_s=timeout_s)
        for name, array in outputs.items():
            if len(array) != rows:
                raise InferenceServerException(
                    f"output {name} has {len(array)} rows, {rows} are expected", status="StatusCode.INTERNAL"
                )
        if all(array.dtype in TYPES for array in outputs.values()):
            self._answers_by_kind[kind] = {
                name: RowOutput(shape=array.shape[1:], dtype=array.dtype) for name, array in outputs.items()
            }
        return outputs

    async def _slot(self, shared: SharedTensors, size_bytes: int) -> Slot | None:
        """None where there is no shared memory after all: the server cannot open it, or it is full. Then it is left alone for good."""
        try:
            return await shared.slot(size_bytes)
        except (InferenceServerException, OSError) as error:
            if isinstance(error, InferenceServerException) and (is_away(error) or is_late(error)):
                raise
            self._stage.emit(Noticed(what="no_shared_memory", subject=self._settings.url, detail=str(error)))
            self._shared = None
            await shared.close()
            return None

    async def _infer(self, model: Model, inputs: Tensors, *, timeout_s: float) -> dict[str, npt.NDArray[Any]]:
        tensors = []
        for name, array in inputs.items():
            tensor = InferInput(name, array.shape, TYPES[array.dtype])
            tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        result = await self._ask(model, tensors, [InferRequestedOutput(name) for name in model.outputs], timeout_s)
        outputs = {name: result.as_numpy(name) for name in model.outputs}
        for name, array in outputs.items():
            if array is None or array.size == 0:
                raise InferenceServerException(f"output {name} is empty", status="StatusCode.INTERNAL")
        return outputs

    async def _infer_shared(
        self,
        shared: SharedTensors,
        slot: Slot,
        model: Model,
        inputs: Parts,
        expected: Mapping[str, RowOutput],
        *,
        timeout_s: float,
    ) -> dict[str, npt.NDArray[Any]]:
        try:
            tensors = lay_inputs(slot, inputs)
            wanted, arrays = want_outputs(slot, expected, tensors[0].shape()[0])
            result = await self._ask(model, tensors, wanted, timeout_s)
            for name, array in arrays.items():
                found = tuple(result.get_output(name).shape)
                if found != array.shape:
                    raise InferenceServerException(
                        f"output {name} has shape {found}, {array.shape} is expected", status="StatusCode.INTERNAL"
                    )
            answers = {name: array.copy() for name, array in arrays.items()}
        except BaseException:
            shared.give_up(slot)
            raise
        shared.give_back(slot)
        return answers

    async def _ask(
        self, model: Model, tensors: list[InferInput], wanted: list[InferRequestedOutput], timeout_s: float
    ) -> InferResult:
        return await self._client.infer(
            model.pin.name,
            tensors,
            model_version=str(model.pin.version),
            outputs=wanted,
            client_timeout=timeout_s,
        )

    # --- coming back ---------------------------------------------------------------------------------------------------

    async def _recovered(self) -> None:
        """Returns when the server is well. Everyone waits for the same recovery, whoever of them is cancelled."""
        if self._recovery is None or self._recovery.done():
            self._recovery = asyncio.create_task(self._recover())
        await asyncio.shield(self._recovery)

    async def _recover(self) -> None:
        attempt = 1 if self._suspected else 0  # what failed counts as the first known input
        while True:
            try:
                for model in self._models.values():
                    await self._load(model.pin)
                    await self._prove(
                        model,
                        timeout_s=PROOF_TIMEOUT_S * 2 ** min(attempt, PROOF_DOUBLINGS),
                        patient=attempt < (PATIENCE if self._was_well else PATIENCE_AT_START),
                    )
                if self._shared is not None:
                    await self._shared.settle()  # before it counts as well: what fails from now on makes it unwell
                self._well = self._was_well = True
                self._suspected = False
                return
            except InferenceServerException as error:
                attempt += 1
                self._say(f"{self._settings.url}: {text_of(error)}", attempt)
            await asyncio.sleep(pause_s(attempt, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S))

    async def _prove(self, model: Model, *, timeout_s: float, patient: bool) -> None:
        """An inference of the known input. A model that fails on it, or hangs, is unloaded, to be loaded by the next attempt.

        One that answers too late and has executed others meanwhile does not hang: it has much to do.
        """
        executed = await self._executions(model.pin)
        try:
            known = self._known[model.pin.name, model.pin.version]
            await self._infer(model, known, timeout_s=timeout_s)
        except InferenceServerException as error:
            spared = is_away(error) or is_busy(error)
            if is_late(error):
                spared = patient or await self._executions(model.pin) > executed
            if not spared:
                await self._client.unload_model(model.pin.name, client_timeout=LOAD_TIMEOUT_S)
                await self._unloaded(model.pin)
            raise

    async def _executions(self, pin: ModelPin) -> int:
        """How many requests or batches the server has executed with the model since it was loaded."""
        answer = await self._client.get_inference_statistics(pin.name, str(pin.version), client_timeout=ASK_TIMEOUT_S)
        return sum(int(model.execution_count) for model in answer.model_stats)

    async def _unloaded(self, pin: ModelPin) -> None:
        """Returns when the server has taken the model out: it answers before, and a load in between would do nothing."""
        for _ in range(UNLOAD_LOOKS):
            if not await self._client.is_model_ready(pin.name, str(pin.version), client_timeout=ASK_TIMEOUT_S):
                return
            await asyncio.sleep(FIRST_PAUSE_S)

    async def _load(self, pin: ModelPin) -> None:
        version = str(pin.version)
        if await self._client.is_model_ready(pin.name, version, client_timeout=ASK_TIMEOUT_S):
            await self._identify(pin)
            return
        try:
            await self._client.load_model(pin.name, client_timeout=LOAD_TIMEOUT_S)
        except InferenceServerException as error:
            if is_late(error) or (is_away(error) and "failed to load" not in text_of(error)):
                raise
            raise ConfigurationError(
                f"Triton at {self._settings.url} cannot load {pin.name}: {text_of(error)}"
            ) from error
        if not await self._client.is_model_ready(pin.name, version, client_timeout=ASK_TIMEOUT_S):
            raise ConfigurationError(
                f"Triton at {self._settings.url} has {pin.name}, but not version {pin.version}: add the version to the "
                f"model repository, or pin one that is there in the plant file"
            )
        await self._identify(pin)

    async def _identify(self, pin: ModelPin) -> None:
        if (pin.name, pin.version) in self._uses:
            return
        answer = await self._client.get_model_config(pin.name, str(pin.version), client_timeout=ASK_TIMEOUT_S)
        check_outputs(answer.config, pin, self._models[pin.name, pin.version].outputs)
        self._most_rows[pin.name, pin.version] = answer.config.max_batch_size
        self._parameters[pin.name, pin.version] = parameters_of(answer.config, pin)
        digest = weights_digest(self._settings.repositories, pin) or parameters_of(answer.config, pin).get("digest")
        self._known.setdefault((pin.name, pin.version), empty_input(answer.config))
        self._uses[pin.name, pin.version] = ModelUse(model=pin.name, version=pin.version, digest=digest or "unknown")

    def _say(self, detail: str, attempt: int) -> None:
        self._stage.emit(AttemptRepeated(service="triton", detail=detail, attempt=attempt))


def _shares_memory(settings: TritonSettings) -> bool:
    """`auto`: a server of this machine does."""
    host = settings.url.rpartition(":")[0]
    return settings.shared_memory == "auto" and host in _THIS_MACHINE and FOLDER.is_dir()
