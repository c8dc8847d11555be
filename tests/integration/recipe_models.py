"""Model repositories in which each recipe of a plant has models of its own, and what a Triton has loaded of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
from tritonclient.grpc.aio import InferenceServerClient

from ops.local.places import CHECKOUT
from schemas.plant import Plant
from schemas.recipes import ModelPin, Recipe


def models_per_recipe(repository: Path, plant: Plant) -> Plant:
    """Copies the product's models once per recipe, and returns the plant that pins the copies."""
    return msgspec.structs.replace(plant, recipes=tuple(_with_own_models(repository, each) for each in plant.recipes))


def _with_own_models(repository: Path, recipe: Recipe) -> Recipe:
    inspection = recipe.inspection
    pins = {}
    for role in ("compare", "classifier"):
        pin: ModelPin = getattr(inspection, role)
        own = f"{pin.name}_{recipe.name.replace('-', '_')}"
        shutil.copytree(CHECKOUT / "triton_models" / pin.name, repository / own)
        config = repository / own / "config.pbtxt"
        config.write_text(config.read_text().replace(f'name: "{pin.name}"', f'name: "{own}"'))
        pins[role] = ModelPin(name=own, version=pin.version)
    return msgspec.structs.replace(recipe, inspection=msgspec.structs.replace(inspection, **pins))


def spoil(repository: Path, pin: ModelPin) -> bytes:
    """Makes a model's file unreadable; returns what stood there."""
    file = repository / pin.name / str(pin.version) / "model.onnx"
    content = file.read_bytes()
    file.write_bytes(b"no model")
    return content


def mend(repository: Path, pin: ModelPin, content: bytes) -> None:
    """Puts a model's file back."""
    (repository / pin.name / str(pin.version) / "model.onnx").write_bytes(content)


async def loaded(url: str) -> set[str]:
    """Names of the models that a Triton has ready."""
    async with InferenceServerClient(url) as server:
        index = await server.get_model_repository_index()
    return {model.name for model in index.models if model.state == "READY"}
