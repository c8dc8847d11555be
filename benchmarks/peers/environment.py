"""An environment of its own for the quixstreams peer: it needs an older pydantic than Linesight's lock has.

Made in `.local/quixstreams` from `requirements/quixstreams.txt`, once; a stamp, written last, says from what.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from ops.local.places import LOCAL, REQUIREMENTS

LOCK = REQUIREMENTS / "quixstreams.txt"
FOLDER = LOCAL / "quixstreams"
STAMP = FOLDER / "made-from"


def quixstreams_python() -> Path:
    """The interpreter of that environment, installed first where it is missing or from another lock. Raises CalledProcessError."""
    python = FOLDER / "bin" / "python"
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if STAMP.is_file() and STAMP.read_text() == wanted:
        return python
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", FOLDER], check=True)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--quiet", "--python", python]
    subprocess.run([*pip, "install", "--require-hashes", "-r", LOCK], check=True)
    STAMP.write_text(wanted)
    return python
