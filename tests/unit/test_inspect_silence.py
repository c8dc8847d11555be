"""`linesight inspect` gives up after a silence of the line, not after a long start of its stages."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli import inspect_run
from cli.inspect_run import SILENCE_S, InspectRun
from schemas.plant_file import load_plant

PCB = Path(__file__).parents[2] / "plants" / "pcb.yaml"


class Fed(Exception):
    """The first picture was asked for."""


class Control:
    """Stands for the simulated PLC: the first part ends the test."""

    def __init__(self, *args: Any, **options: Any) -> None: ...

    def connect(self) -> None: ...

    def close(self) -> None: ...

    def feed(self, **part: Any) -> None:
        raise Fed


class Feed:
    """Stands for the camera: nothing is published."""

    def __init__(self, **options: Any) -> None: ...

    async def __aenter__(self) -> Feed:
        return self

    async def __aexit__(self, *error: object) -> None: ...


def test_silence_begins_with_the_first_picture_however_long_the_start_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    monkeypatch.setattr(inspect_run, "PlantControl", Control)
    monkeypatch.setattr(inspect_run, "ImageFeed", Feed)
    labels = tmp_path / "labels.jsonl"
    labels.write_text(json.dumps({"image": "board.png"}) + "\n", encoding="utf-8")
    run = InspectRun(
        plant=load_plant(PCB), plant_file=PCB, labels=labels, rows=tmp_path / "rows.jsonl", run_dir=tmp_path,
        console=Console(quiet=True),
    )  # fmt: skip
    run._last_news_s -= 2 * SILENCE_S  # a busy machine
    with pytest.raises(Fed):
        asyncio.run(run._feed())
    assert run._open
    assert time.monotonic() - run._last_news_s < SILENCE_S
