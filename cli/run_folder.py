"""The folder of one run: emptied at its start, and never shared by two runs at once."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import ConfigurationError


@contextmanager
def fresh_run_folder(folder: Path) -> Iterator[Path]:
    """An empty `folder`, ours until the end. Raises `ConfigurationError` when another run has it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock_path = folder.with_name(f"{folder.name}.lock")
    with lock_path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"another run uses {folder}: wait for it, or set LINESIGHT_RUN_DIR to another folder"
            ) from error
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
