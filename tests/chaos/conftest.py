"""The line that a test of this folder disturbs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chaos.disturbed_line import DisturbedLine
from cli.simulated_plant import PORT_VARIABLES

SERVICE_VARIABLES = ("KAFKA_BOOTSTRAP_SERVERS", "TRITON_URL", "OBJECT_STORE_URL")


@pytest.fixture
def line(tmp_path: Path, kafka_installed: None, triton_installed: None) -> Iterator[DisturbedLine]:
    """A line of its own services, whatever the environment names; what it sets there is gone afterwards."""
    before = dict(os.environ)
    for variable in (*PORT_VARIABLES, *SERVICE_VARIABLES):
        os.environ.pop(variable, None)
    yield DisturbedLine(tmp_path / "run")
    os.environ.clear()
    os.environ.update(before)
