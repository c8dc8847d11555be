"""Programs that are not ours and that tests need: skipped by name where they are missing, a failure in CI."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.peers.node_opcua_install import NodeOpcuaMissing, install

SYSTEM_PYTHON = "/usr/bin/python3"
"""The bindings of GStreamer and Aravis belong to it."""


def require_bindings(imports: str, *, what: str, packages: str) -> None:
    """Returns where the system's Python can do `imports`; else skips, or fails with CI=true."""
    command = [SYSTEM_PYTHON, "-c", f"import gi; {imports}"]
    if Path(SYSTEM_PYTHON).exists() and not subprocess.run(command, capture_output=True, check=False).returncode:
        return
    _missing(f"{what} is not installed: apt-get install {packages}")


def require_node_opcua() -> None:
    """Returns once node-opcua is installed; else skips, or fails with CI=true."""
    try:
        install()
    except NodeOpcuaMissing as missing:
        _missing(str(missing))


def _missing(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
