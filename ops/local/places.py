"""Where set-up puts things in a checkout. Standard library only: set-up runs before anything is installed."""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
REQUIREMENTS = CHECKOUT / "requirements"
VENV = CHECKOUT / ".venv"
LOCAL = CHECKOUT / ".local"
KAFKA_JARS = LOCAL / "kafka"
KAFKA_LOCK = REQUIREMENTS / "kafka.lock"
TRITON_VENV = LOCAL / "triton"
TRITON_BACKENDS = TRITON_VENV / "backends"


def site_packages(venv: Path) -> Path:
    """The package folder of a virtual environment made with the running Python's version."""
    return venv / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
