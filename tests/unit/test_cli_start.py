"""A stage is a process of its own, ten to a line: none may load what only other verbs need."""

from __future__ import annotations

import json
import subprocess
import sys

from ops.local.places import CHECKOUT

HEAVY = (
    "aiokafka", "asyncua", "cv2", "faust", "grpc", "jgo", "jinja2", "kafka", "minio", "numpy", "requests", "scipy", "tritonclient",
)  # fmt: skip


def test_the_command_itself_loads_no_client_and_no_numbers() -> None:
    program = "import cli.main, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True
    )
    assert [name for name in HEAVY if name in json.loads(done.stdout)] == []
