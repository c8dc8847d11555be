"""Two runs at once: the second is refused and the first keeps its data."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.run_folder import fresh_run_folder, only_run
from schemas.errors import ConfigurationError


def test_a_second_run_is_refused_and_destroys_nothing(tmp_path: Path) -> None:
    with fresh_run_folder(tmp_path / "demo") as folder:
        (folder / "data").write_text("precious")
        with pytest.raises(ConfigurationError, match="another run uses"), fresh_run_folder(tmp_path / "demo"):
            pass
        assert (folder / "data").read_text() == "precious"


def test_the_next_run_starts_empty(tmp_path: Path) -> None:
    with fresh_run_folder(tmp_path / "demo") as folder:
        (folder / "data").write_text("old")
    with fresh_run_folder(tmp_path / "demo") as folder:
        assert list(folder.iterdir()) == []


def test_a_folder_that_is_kept_has_one_run_at_a_time(tmp_path: Path) -> None:
    lock_path = tmp_path / "run" / "up.lock"
    refused = pytest.raises(ConfigurationError, match="another run uses")
    with only_run(tmp_path / "run", lock_path=lock_path), refused, only_run(tmp_path / "run", lock_path=lock_path):
        pass
    with only_run(tmp_path / "run", lock_path=lock_path):
        pass
