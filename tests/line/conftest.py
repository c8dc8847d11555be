"""What every test of whole lines needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from linesight import Linesight


@pytest.fixture
def linesight(tmp_path: Path, kafka_installed: None, triton_installed: None) -> Linesight:
    """The command with an empty run folder."""
    return Linesight(run_dir=tmp_path / "run", mark=uuid.uuid4().hex)


@pytest.fixture(scope="session")
def alone() -> list[str]:
    """What is put before a command that is to find loopback and no other network."""
    unshare = shutil.which("unshare")
    if unshare is None:
        if os.environ.get("CI") == "true":
            pytest.fail("unshare is not installed (util-linux)")
        pytest.skip("unshare is not installed (util-linux)")
    no_network = [sys.executable, str(Path(__file__).with_name("no_network.py"))]
    for rights in ([], ["--map-root-user"]):  # the second: where the kernel lets users make namespaces
        command = [unshare, *rights, "--net", *no_network]
        if subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0:
            return command
    pytest.skip("this kernel or container lets nobody make a network namespace (unshare --net)")
