"""Which line a verb talks to: the one in the environment, else the one that runs in this folder, whoever started it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.services import find_kafka
from ops.local.processes import started_at
from schemas.errors import ServiceAway
from schemas.settings import ObjectStoreSettings


@pytest.fixture(autouse=True)
def run_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "OBJECT_STORE_URL"):
        monkeypatch.setenv(name, "")  # so that what the test sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("LINESIGHT_RUN_DIR", str(tmp_path))
    return tmp_path


def a_broker_runs_in(folder: Path, *, port: int) -> None:
    """As a broker's folder looks whose owner, this process, lives."""
    (folder / "kafka").mkdir(parents=True)
    (folder / "kafka" / "owner").write_text(f"{os.getpid()} {started_at(os.getpid())} {port}\n")


@pytest.mark.parametrize("folder", ["", "demo", "inspect"])
def test_a_line_that_runs_here_is_found_with_its_objects(run_dir: Path, folder: str) -> None:
    a_broker_runs_in(run_dir / folder, port=23456)
    assert find_kafka().bootstrap_servers == "127.0.0.1:23456"
    assert Path(ObjectStoreSettings().url) == run_dir / folder / "objects"


def test_what_the_environment_names_counts_before_what_runs_here(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_broker_runs_in(run_dir, port=23456)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    assert find_kafka().bootstrap_servers == "kafka:9092"


def test_nothing_that_runs_is_told_with_what_to_do() -> None:
    with pytest.raises(ServiceAway, match=r"linesight up.*set the variable"):
        find_kafka()
