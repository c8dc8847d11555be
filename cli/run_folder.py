"""The folder of a run is never shared by two runs at once."""

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
    with only_run(folder, lock_path=folder.with_name(f"{folder.name}.lock")):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder


@contextmanager
def only_run(folder: Path, *, lock_path: Path) -> Iterator[None]:
    """Holds `lock_path` until the end, or until the process dies. Raises `ConfigurationError` when another run has it."""
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"another run uses {folder}: stop it or wait for it, or set LINESIGHT_RUN_DIR to another folder"
            ) from error
        yield
