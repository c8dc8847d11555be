"""Several processes of one stage: what may be asked for, and how they are told apart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.local_line import LocalLine
from cli.workers import SCALABLE, Worker, check_workers, read_workers
from ops.local.places import CHECKOUT
from schemas.errors import ConfigurationError
from schemas.plant_file import load_plant

PLANT = load_plant(CHECKOUT / "plants" / "demo.yaml")


def test_each_process_of_a_stage_has_a_name_and_an_instance_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINESIGHT_INSTANCE", "hall-3")
    workers = [Worker(stage="inspect", number=number) for number in (1, 2, 3)]
    assert [worker.name for worker in workers] == ["inspect", "inspect-2", "inspect-3"]
    assert [worker.environment()["LINESIGHT_INSTANCE"] for worker in workers] == ["hall-3", "hall-3.2", "hall-3.3"]


def test_numbers_of_workers_are_read() -> None:
    assert read_workers(["inspect=2", "judge=10"]) == {"inspect": 2, "judge": 10}
    assert read_workers([]) == {}


@pytest.mark.parametrize("text", ["inspect", "inspect=", "inspect=0", "inspect=-1", "inspect=two", "=2", "inspect=2.5"])
def test_what_is_no_number_of_workers_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected STAGE=N"):
        read_workers([text])


def test_a_stage_named_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="inspect twice"):
        read_workers(["inspect=2", "inspect=3"])


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({"plc-gateway": 2}, "plc-gateway cannot have 2 workers: stages that can have several are inspect, "),
        ({"inspekt": 1}, "inspekt cannot have"),
        ({"inspect": 5}, "4 partitions"),
    ],
)
def test_what_a_stage_cannot_have_is_refused(counts: dict[str, int], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        check_workers(counts, PLANT)


def test_as_many_workers_as_partitions_are_allowed() -> None:
    check_workers(dict.fromkeys(SCALABLE, PLANT.kafka.partitions), PLANT)


def test_workers_of_a_stage_that_the_plant_does_not_need_are_refused(tmp_path: Path) -> None:
    file = CHECKOUT / "plants" / "demo.yaml"
    with pytest.raises(ConfigurationError, match="demo does not run backfill here"):
        LocalLine(plant=PLANT, plant_file=file, run_dir=tmp_path, say=print, workers={"backfill": 2})


def test_up_says_what_it_does_not_understand_before_it_starts_anything() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "up", "--workers", "plc-gateway=2"],
        cwd=CHECKOUT,
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "linesight: plc-gateway cannot have 2 workers" in done.stderr
