"""The inference server, over gRPC: the models that are held, requests repeated while it is away.

    away        no answer, or one that says so: wait until it is back, load the models again, repeat without end
    busy        its queue is full: repeat later, without end
    failed      it answers, but not this request, or its process ends while it works on this one alone: repeat a few times,
                each time after an inference of a known image showed that the server is well; then it is this image's
                fault (`ModelFailed`)

Models are held and let go of while others work (`hold`, `let_go`, `unload`); what is held is brought back whenever the server was
away. One that cannot be brought back any more is lost alone: the others go on. `model_control` commands the server.

Rows that wait go together in one request (`request_batches`); where that fails, each is tried by itself, one after the
other, so that the neighbours of an image that kills the model do not pay for it. A server on this machine reads and
writes shared memory (`shared_tensors`); any other gets the tensors over gRPC.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from schemas.errors import LinesightError
from schemas.inspections import ModelUse
from schemas.patience import pause_s
from schemas.recipes import ModelPin
from schemas.settings import TritonSettings
from schemas.telemetry import AttemptRepeated, Noticed, Stage
from topologies.model_control import ASK_TIMEOUT_S, Key, Model, ModelControl, ModelUnusable, Tensors, Told, Trouble
from topologies.request_batches import Kind, Parts, RequestBatches
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

__all__ = ["Model", "ModelFailed", "ModelUnusable", "Tensors", "Triton"]

TRIES = 3
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
LOOK_EVERY_S = 2.0
PROOF_TIMEOUT_S = 0.5  # for the first known input; each further one may take twice as long, for the machine may be slow
PROOF_DOUBLINGS = 4
PATIENCE = 1  # known inputs that may be answered too late before the model counts as hung
PATIENCE_AT_START = 4  # everything is cold, and everything else starts too
BACK_AT_ONCE = 3
"""Models that are loaded again side by side: more would be late on their known inputs."""
WARM_UPS = 4
WARM_SHAPES, SHAPE_WARM_UPS = 4, 2  # in the request, then in shared memory
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
    """The model fails on this input again and again, while it works on a known one; or it is not held (any more)."""


class Triton:
    """One client of one server, for one event loop. `owner` names it among the clients on this machine."""

    def __init__(self, *, settings: TritonSettings, stage: Stage, owner: str, told: Told) -> None:
        self._settings = settings
        self._stage = stage
        self._client = InferenceServerClient(settings.url, channel_args=CHANNEL)
        self._control = ModelControl(client=self._client, settings=settings, told=told)
        self._held: dict[Key, Model] = {}
        self._known: dict[Key, Tensors] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # the server loads and unloads by name
        self._batches = RequestBatches(send=self._send, in_flight=settings.in_flight)
        self._answers_by_kind: dict[Kind, dict[str, RowOutput]] = {}
        self._suspects = asyncio.Lock()
        self._returning = asyncio.Semaphore(BACK_AT_ONCE)
        self._shared = (
            SharedTensors(client=self._client, owner=owner, timeout_s=ASK_TIMEOUT_S)
            if _shares_memory(settings)
            else None
        )
        self._recovery: asyncio.Task[None] | None = None
        self._well = self._was_well = False
        self._suspected = False  # a request failed, or was answered too late, though the server was there

    @property
    def ready(self) -> bool:
        """Whether the server answered the last time, with every model that is held."""
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
        """Brings back what is held and tries each model on its known input, whenever the server was away. Never returns."""
        while True:
            await self._recovered()
            while self._well:
                await asyncio.sleep(LOOK_EVERY_S)
                if not await self._answers():
                    self._well = False

    def holds(self, pin: ModelPin) -> bool:
        """Whether the model can be asked: it was loaded and proved, and is brought back whenever the server was away."""
        return (pin.name, pin.version) in self._held

    async def hold(self, model: Model) -> None:
        """Loads the model, proves it on its known input, and keeps it from now on; the others work on meanwhile.

        Waits for a server that is away. Raises ModelUnusable.
        """
        attempt, trouble = 0, Trouble()
        while True:
            await self._recovered()
            try:
                async with self._turns[model.pin.name]:
                    if model.key not in self._held:
                        await self._control.load(model)
                        # the server unloads by name: what does not work must not take a version along that does
                        shared = any(name == model.pin.name for name, _ in self._held)
                        await self._prove(model, attempt=attempt, patience=PATIENCE_AT_START, shared=shared)
                        self._held[model.key] = model
                return
            except InferenceServerException as error:
                attempt += 1
                self._say(f"{model.pin.name}: {text_of(error)}", attempt)
                if is_cut_off(error):
                    self._well = False
                if await self._answers() and trouble.note(error):
                    raise ModelUnusable(
                        f"{model.pin.name}/{model.pin.version} does not work on its known input: {text_of(error)}"
                    ) from error
            await asyncio.sleep(pause_s(attempt, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S))

    def let_go(self, pin: ModelPin) -> None:
        """Forgets a model that nobody here asks any more. On the server it stays until `unload`."""
        key = (pin.name, pin.version)
        self._held.pop(key, None)
        self._known.pop(key, None)
        self._control.forget(pin)
        self._answers_by_kind = {kind: rows for kind, rows in self._answers_by_kind.items() if kind.model != key}

    async def unload(self, pin: ModelPin) -> None:
        """Has the server take the model out, with all of its versions, unless one of them is held here. For models that nobody asks."""
        async with self._turns[pin.name]:
            if any(name == pin.name for name, _ in self._held):
                return
            try:
                if await self._control.is_ready(pin):
                    await self._control.unload(pin)
            except InferenceServerException as error:  # away: it is out, or stays where it was, unused
                self._say(f"unloading {pin.name}: {text_of(error)}", 1)

    def know(self, pin: ModelPin, known: Tensors) -> None:
        """From now on tries the model with this input: one of the size that is really used also warms it up."""
        self._known[pin.name, pin.version] = known

    async def warm_up(self, pin: ModelPin) -> None:
        """Tries a model as often as it takes to be quick (buffers grow with the first requests).

        On its known input, and on nothing in the shapes that other versions of it are asked in.
        """
        model = self._held.get((pin.name, pin.version))
        if model is None:
            raise ModelFailed(f"{pin.name}/{pin.version} is not loaded (any more)")
        for inputs in (*[self._known_of(model)] * WARM_UPS, *self._asked_in(pin) * SHAPE_WARM_UPS):
            await self.infer(pin, inputs)

    def _asked_in(self, pin: ModelPin) -> list[Tensors]:
        shapes = {kind.rows for kind in self._answers_by_kind if kind.model[0] == pin.name}
        chosen = sorted(shapes)[:WARM_SHAPES]
        return [{name: np.zeros((1, *shape), dtype) for name, shape, dtype in rows} for rows in chosen]

    def most_rows(self, pin: ModelPin) -> int:
        """How many rows the model takes in one request (its `max_batch_size`); 0 where its rows cannot be batched."""
        return self._control.most_rows(pin)

    def use(self, pin: ModelPin) -> ModelUse:
        """Version and digest of a loaded model, as an inspection carries them."""
        return self._control.use(pin)

    def parameters(self, pin: ModelPin) -> Mapping[str, str]:
        """The parameters in a loaded model's configuration."""
        return self._control.parameters(pin)

    async def infer(self, pin: ModelPin, inputs: Tensors) -> dict[str, npt.NDArray[Any]]:
        """Outputs by name. Repeats what is transient as the module says; raises ModelFailed."""
        attempt = failures = 0
        while True:
            if not self._well:
                await self._recovered()
            if not self.holds(pin):
                raise ModelFailed(f"{pin.name}/{pin.version} is not loaded (any more)")
            try:
                if attempt == 0:
                    return await self._batches.infer(
                        (pin.name, pin.version),
                        inputs,
                        most_rows=self.most_rows(pin),
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
        model = self._held.get(kind.model)
        if model is None:
            raise InferenceServerException(f"{kind.model[0]} is let go of", status="StatusCode.NOT_FOUND")
        rows = sum(len(part) for part in next(iter(inputs.values())))
        expected = self._answers_by_kind.get(kind)
        if self._shared is not None and expected is not None:
            slot = await self._slot(self._shared, request_bytes(inputs, expected, rows))
            if slot is not None:
                return await self._infer_shared(self._shared, slot, model, inputs, expected, timeout_s=timeout_s)
        whole = {name: np.concatenate(parts) if len(parts) > 1 else parts[0] for name, parts in inputs.items()}
        outputs = await self._control.infer(model, whole, timeout_s=timeout_s)
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
            result = await self._control.ask(model, tensors, wanted, timeout_s)
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

    # --- coming back ---------------------------------------------------------------------------------------------------

    async def _recovered(self) -> None:
        """Returns when the server is well. Everyone waits for the same recovery, whoever of them is cancelled."""
        if self._well:
            return
        if self._recovery is None or self._recovery.done():
            self._recovery = asyncio.create_task(self._recover())
        await asyncio.shield(self._recovery)

    async def _recover(self) -> None:
        attempt = 1 if self._suspected else 0  # what failed counts as the first known input
        troubles: defaultdict[Key, Trouble] = defaultdict(Trouble)
        while True:
            try:
                if not self._held and not await self._answers():
                    raise InferenceServerException("it does not answer", status="StatusCode.UNAVAILABLE")
                back = (self._bring_back(key, attempt, troubles[key]) for key in list(self._held))
                for failed in await asyncio.gather(*back, return_exceptions=True):
                    if failed is not None:
                        raise failed
                if self._shared is not None:
                    await self._shared.settle()  # before it counts as well: what fails from now on makes it unwell
                self._well = self._was_well = True
                self._suspected = False
                return
            except InferenceServerException as error:
                attempt += 1
                self._say(f"{self._settings.url}: {text_of(error)}", attempt)
            await asyncio.sleep(pause_s(attempt, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S))

    async def _bring_back(self, key: Key, attempt: int, trouble: Trouble) -> None:
        """Loads and proves a held model once more. One that cannot be brought back is not held from then on."""
        name, _ = key
        async with self._returning, self._turns[name]:
            model = self._held.get(key)
            if model is None:  # let go of meanwhile
                return
            try:
                await self._control.load(model)
                await self._prove(model, attempt=attempt, patience=PATIENCE if self._was_well else PATIENCE_AT_START)
            except ModelUnusable as error:
                self._lose(key, str(error))
            except InferenceServerException as error:
                if not await self._answers() or not trouble.note(error):
                    raise
                self._lose(key, text_of(error))

    def _lose(self, key: Key, why: str) -> None:
        del self._held[key]
        self._stage.emit(Noticed(what="model_lost", subject=f"{key[0]}/{key[1]}", detail=why))

    async def _prove(self, model: Model, *, attempt: int, patience: int, shared: bool = False) -> None:
        await self._control.prove(
            model,
            self._known_of(model),
            timeout_s=PROOF_TIMEOUT_S * 2 ** min(attempt, PROOF_DOUBLINGS),
            patient=attempt < patience,
            shared=shared,
        )

    def _known_of(self, model: Model) -> Tensors:
        return self._known.get(model.key) or model.known or self._control.empty_input(model.pin)

    def _say(self, detail: str, attempt: int) -> None:
        self._stage.emit(AttemptRepeated(service="triton", detail=detail, attempt=attempt))


def _shares_memory(settings: TritonSettings) -> bool:
    """`auto`: a server of this machine does."""
    host = settings.url.rpartition(":")[0]
    return settings.shared_memory == "auto" and host in _THIS_MACHINE and FOLDER.is_dir()
