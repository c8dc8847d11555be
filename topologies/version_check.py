"""Whether Triton has a version of a model and answers with it: asked before the line goes back to it."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from schemas.errors import ConfigurationError, ServiceAway
from schemas.recipes import ModelPin
from schemas.settings import TritonSettings
from topologies.served_config import empty_input
from topologies.shared_tensors import TYPES
from topologies.triton_errors import is_cut_off, is_late, text_of

LOAD_TIMEOUT_S = 30.0
ASK_TIMEOUT_S = 5.0


def prove_version(model: str, version: int, *, settings: TritonSettings | None = None) -> None:
    """Loads the version where it is not, and asks it about an empty picture.

    Raises ServiceAway where Triton does not answer, and ConfigurationError where it cannot serve the version.
    """
    settings = settings or TritonSettings()
    with closing(InferenceServerClient(settings.url)) as client:
        try:
            _prove(client, ModelPin(name=model, version=version))
        except InferenceServerException as error:
            if is_late(error) or (is_cut_off(error) and "failed to load" not in text_of(error)):
                raise ServiceAway(f"no Triton answers at {settings.url}: start it, or set TRITON_URL") from error
            raise ConfigurationError(
                f"Triton at {settings.url} cannot serve {model} version {version}: {text_of(error)}; the version in use stays"
            ) from error


def _prove(client: Any, pin: ModelPin) -> None:
    version = str(pin.version)
    if not client.is_model_ready(pin.name, version, client_timeout=ASK_TIMEOUT_S):
        client.load_model(pin.name, client_timeout=LOAD_TIMEOUT_S)
    config = client.get_model_config(pin.name, version, client_timeout=ASK_TIMEOUT_S).config
    inputs = []
    for name, array in empty_input(config).items():
        tensor = InferInput(name, array.shape, TYPES[array.dtype])
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    client.infer(pin.name, inputs, model_version=version, client_timeout=ASK_TIMEOUT_S)
