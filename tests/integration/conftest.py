"""What every integration test needs, whether it knows or not."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gateways of this test, and those that it starts as processes, keep what a broker has not taken in a folder of its own."""
    folder = tmp_path / "spool"
    monkeypatch.setenv("LINESIGHT_SPOOL_DIR", str(folder))
    return folder
