"""Where the settings of a version are read: at the server, in the registry, in its folder; and in that order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from model_events import MODEL, version_event
from tritonclient.grpc import model_config_pb2

from processors.learned.settings import DIGEST, SETTINGS
from processors.model_registry import Registry
from schemas.recipes import ModelPin
from schemas.records import ModelChange
from schemas.settings import TritonSettings
from topologies.model_control import Model, ModelControl

PIN = ModelPin(name=MODEL, version=2)
SERVED = 'parameters { key: "settings/2" value { string_value: "served" } }'


class Server:
    """Has every version loaded, with this configuration."""

    def __init__(self, configuration: str) -> None:
        self._config = text_format.Parse(configuration, model_config_pb2.ModelConfig())

    async def is_model_ready(self, *_: Any, **__: Any) -> bool:
        return True

    async def get_model_config(self, *_: Any, **__: Any) -> Any:
        return type("Answer", (), {"config": self._config})


@pytest.mark.parametrize(
    ("configuration", "released", "in_folder", "found"),
    [
        (SERVED, "released", True, "served"),
        ("", "released", True, "released"),
        ("", "", True, "in folder"),
        ("", "released", False, "released"),
        ("", "", False, None),
    ],
)
async def test_the_settings_of_a_version(
    tmp_path: Path, configuration: str, released: str, in_folder: bool, found: str | None
) -> None:
    if in_folder:
        (tmp_path / MODEL / "2").mkdir(parents=True)
        (tmp_path / MODEL / "2" / "model.json").write_text("in folder")
    registry = Registry()
    control = ModelControl(
        client=Server(configuration), settings=TritonSettings(trained_models=tmp_path), told=registry.told
    )
    await control.load(Model(pin=PIN, outputs=()))
    assert control.use(PIN).digest == "unknown"
    registry.take(version_event(ModelChange.RELEASED, 2, 1, settings=released))  # read after the model was loaded
    assert control.parameters(PIN).get(SETTINGS) == found
    assert control.use(PIN).digest == control.parameters(PIN)[DIGEST] == "sha256:2"
