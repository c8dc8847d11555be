"""The line that a test of this folder disturbs."""

from __future__ import annotations

from pathlib import Path

import pytest
from disturbed_line import DisturbedLine

from cli.simulated_plant import PORT_VARIABLES

SERVICE_VARIABLES = ("KAFKA_BOOTSTRAP_SERVERS", "TRITON_URL", "OBJECT_STORE_URL")


@pytest.fixture
def line(
    tmp_path: Path, kafka_installed: None, triton_installed: None, monkeypatch: pytest.MonkeyPatch
) -> DisturbedLine:
    """A line of its own services, whatever the environment names."""
    for variable in (*PORT_VARIABLES, *SERVICE_VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    return DisturbedLine(tmp_path / "run")
