"""The real promtool, for the tests of rules and dashboards."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from ops_metrics import Promtool


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    """Runs promtool with arguments and fails with its words; a machine that tests changes must have it."""
    path = shutil.which("promtool")
    if path is None and os.environ.get("CI") == "true":
        pytest.fail("promtool is not installed: apt-get install prometheus")
    if path is None:
        pytest.skip("promtool is not installed (Debian package `prometheus`)")

    def run(*arguments: str) -> None:
        done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return run
