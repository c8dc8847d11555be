"""What rules and dashboards may ask Prometheus for, and how a query is held against it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from promql import Selector, grouping_labels, selectors
from stage_metrics import emitted

Promtool = Callable[..., None]

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "ops" / "prometheus"
TARGET_LABELS = {"job", "instance", "plant", "stage"}

# https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/metrics.html
TRITON = {
    "nv_inference_request_success",
    "nv_inference_request_failure",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_request_duration_us",
    "nv_inference_queue_duration_us",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_pending_request_count",
}
PROMETHEUS_OWN = {"up": set[str]()}


def rules(file: str) -> list[dict[str, Any]]:
    """All rules of a rule file."""
    content = yaml.safe_load((PROMETHEUS / "rules" / file).read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


@cache
def known_series() -> dict[str, set[str]]:
    """Series name -> its labels: of every stage, Triton, Prometheus itself, and the recording rules."""
    known = {name: labels | TARGET_LABELS for name, labels in emitted().items()}
    known.update({name: {"model", "version", "reason"} | TARGET_LABELS for name in TRITON})
    known.update({name: labels | TARGET_LABELS for name, labels in PROMETHEUS_OWN.items()})
    for rule in rules("recording.yml"):
        known[rule["record"]] = grouping_labels(rule["expr"]) - {"le"}
    return known


def complaints(expression: str) -> list[str]:
    """What `expression` asks for and nobody emits."""
    known, found = known_series(), []
    every_label: set[str] = set()
    for selector in selectors(expression):
        names = selector.matches(set(known))
        if not names:
            found.append(f"no stage emits {selector.name}")
        for name in sorted(names):
            every_label |= known[name]
            if unknown := selector.labels - known[name]:
                found.append(f"{name} has no label {', '.join(sorted(unknown))}")
    if unknown := grouping_labels(expression) - every_label:
        found.append(f"grouped by {', '.join(sorted(unknown))}, which nothing here has")
    return found


def labels_of(expression: str) -> set[str]:
    """Labels that a result of `expression` may have: those that it groups by, else those of the series that it reads."""
    read = {label for each in selectors(expression) for name in matched(each) for label in known_series()[name]}
    return grouping_labels(expression) or read


def matched(selector: Selector) -> set[str]:
    """The known series that a selector reads."""
    return selector.matches(set(known_series()))
