"""The inference server as the shadow asks it: once, with no repetition, and without touching what the line holds.

The line's client (`triton`) waits, repeats, loads again and takes out what fails. A shadow that fails must cause none of this: its
client has a connection of its own, never unloads, and tells at once whether the model failed or the server was away.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from schemas.errors import Transient
from schemas.inspections import ModelUse
from schemas.recipes import ModelPin
from schemas.settings import TritonSettings
from topologies.model_control import ASK_TIMEOUT_S, Key, Model, ModelControl, ModelUnusable, Tensors, Told
from topologies.triton import CHANNEL, ModelFailed
from topologies.triton_errors import is_busy, is_cut_off, text_of

PROOF_TIMEOUT_S = 3.0
CUT_OFFS_FORGIVEN = 1
KEPT_MODELS = 16
"""What was held first is forgotten here; on the server it stays."""
RETRY_S = 30.0
"""What cannot be loaded is tried again so often, not for every frame: a load is work for the server that the line shares."""


class ServerAway(Transient):
    """The inference server does not answer: nothing follows for the model."""


class ShadowModels:
    """Models that are asked beside the line. Make it inside the running loop."""

    def __init__(self, *, settings: TritonSettings, told: Told) -> None:
        self._timeout_s = settings.timeout_ms / 1000
        self._client = InferenceServerClient(settings.url, channel_args=CHANNEL)
        self._control = ModelControl(client=self._client, settings=settings, told=told)
        self._held: OrderedDict[Key, Model] = OrderedDict()
        self._unusable: dict[Key, tuple[str, float]] = {}
        self._cut_off: Counter[Key] = Counter()

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.close()

    async def hold(self, model: Model) -> None:
        """Has the server load the model where it is not loaded, and tries it on its known input.

        Raises ModelUnusable where it cannot be loaded or does not work, ServerAway.
        """
        if model.key in self._held:
            return
        unusable, until_s = self._unusable.get(model.key, ("", 0.0))
        if time.monotonic() < until_s:
            raise ModelUnusable(unusable)
        try:
            await self._load(model)
        except ModelUnusable as error:
            now_s = time.monotonic()
            self._unusable = {key: told for key, told in self._unusable.items() if now_s < told[1]}
            self._unusable[model.key] = str(error), now_s + RETRY_S
            raise
        self._held[model.key] = model
        while len(self._held) > KEPT_MODELS:
            (name, version), _ = self._held.popitem(last=False)
            self._control.forget(ModelPin(name=name, version=version))

    async def _load(self, model: Model) -> None:
        await self._check_live()
        try:
            await self._control.load(model)
            known = model.known or self._control.empty_input(model.pin)
            await self._control.prove(model, known, timeout_s=PROOF_TIMEOUT_S, patient=True, shared=True)
        except InferenceServerException as error:
            await self._blame(model.key, error)
            raise ModelUnusable(
                f"{model.pin.name}/{model.pin.version} does not work on its known input: {text_of(error)}"
            ) from error

    def holds(self, pin: ModelPin) -> bool:
        """Whether the model can be asked."""
        return (pin.name, pin.version) in self._held

    def know(self, pin: ModelPin, known: Tensors) -> None:
        """Nothing: a shadow is not warmed up for a deadline."""

    def most_rows(self, pin: ModelPin) -> int:
        """How many rows the model takes in one request; 0 where its rows cannot be batched."""
        return self._control.most_rows(pin)

    def use(self, pin: ModelPin) -> ModelUse:
        """Version and digest of a loaded model."""
        return self._control.use(pin)

    def parameters(self, pin: ModelPin) -> Mapping[str, str]:
        """The parameters in a loaded model's configuration."""
        return self._control.parameters(pin)

    async def infer(self, pin: ModelPin, inputs: Tensors) -> dict[str, npt.NDArray[Any]]:
        """Outputs by name, asked for once. Raises ModelFailed, ServerAway."""
        model = self._held.get((pin.name, pin.version))
        if model is None:
            raise ModelFailed(f"{pin.name}/{pin.version} is not loaded (any more)")
        await self._check_live()
        try:
            return await self._control.infer(model, inputs, timeout_s=self._timeout_s)
        except InferenceServerException as error:
            self._held.pop(model.key, None)  # the next frame looks whether the server still has it
            await self._blame(model.key, error)
            raise ModelFailed(f"{pin.name}/{pin.version} failed: {text_of(error)}") from error

    async def _check_live(self) -> None:
        """Raises ServerAway. Asked before each request, so that a connection that ends in the middle of one is known as such."""
        try:
            live = await self._client.is_server_live(client_timeout=ASK_TIMEOUT_S)
        except InferenceServerException as away:
            raise ServerAway(text_of(away)) from away
        if not live:
            raise ServerAway("it says that it is not live")

    async def _blame(self, key: Key, error: InferenceServerException) -> None:
        """Raises ServerAway where the failure says nothing about the model: the server is not there, or has too much to do.

        A connection that ends in the middle of a request may be a restart of the server, once; twice with one version it is the
        version that kills it.
        """
        if is_busy(error):
            raise ServerAway(text_of(error)) from error
        if not is_cut_off(error):
            await self._check_live()
            return
        self._cut_off[key] += 1
        if self._cut_off[key] <= CUT_OFFS_FORGIVEN:
            raise ServerAway(text_of(error)) from error
