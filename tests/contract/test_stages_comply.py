"""The component contract: every stage shows the same things under its own name, with labels that cannot grow without bound."""

from __future__ import annotations

import importlib
import inspect

import pytest
from prometheus_client import Metric
from stage_metrics import exercised

from cli.run import STAGE_MODULES
from schemas.telemetry import STAGES

REQUIRED = {
    "in": ("counter", {"topic"}),
    "out": ("counter", {"topic"}),
    "dropped": ("counter", {"reason"}),
    "retried": ("counter", {"reason"}),
    "noticed": ("counter", {"what"}),
    "in_progress": ("gauge", set()),
    "in_progress_bytes": ("gauge", set()),
    "duration_seconds": ("histogram", set()),
    "lag_seconds": ("gauge", set()),
    "last_processed_timestamp_seconds": ("gauge", set()),
    "ready": ("gauge", set()),
}
"""design.md, "Every stage shows": name -> type and labels."""

MODULES = {name.replace("-", "_"): module for name, module in STAGE_MODULES.items()}


def labels_of(metric: Metric) -> set[str]:
    return {label for sample in metric.samples for label in sample.labels} - {"le"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_shows_what_every_stage_shows(stage: str) -> None:
    shown = {metric.name: metric for metric in exercised(stage).collect()}
    for what, (kind, labels) in REQUIRED.items():
        metric = shown[f"linesight_{stage}_{what}"]
        assert (metric.type, labels_of(metric)) == (kind, labels), what
        assert metric.documentation.endswith(".")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_shows_what_its_process_costs(stage: str) -> None:
    names = {metric.name for metric in exercised(stage).collect()}
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "process_open_fds"} <= names


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_can_be_run_by_name(stage: str) -> None:
    run = importlib.import_module(MODULES[stage]).run
    assert inspect.iscoroutinefunction(run)
    parameters = inspect.signature(run).parameters
    assert list(parameters) == ["plant", "plant_dir", "stage", "stop"]
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in ("plant_dir", "stage", "stop"))


def test_no_stage_is_forgotten() -> None:
    assert set(MODULES) == set(STAGES)
