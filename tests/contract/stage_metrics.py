"""The metrics that stages really emit: those that every stage has, and those that a stage's own code declares."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prometheus_client import CollectorRegistry

from cli.run import STAGE_MODULES
from schemas.telemetry import STAGES, AttemptRepeated, DroppedByRule, Noticed, Stage

ROOT = Path(__file__).parents[2]
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@dataclass(frozen=True)
class Declared:
    """One call of `counter`, `gauge` or `histogram` with a literal name, somewhere in a stage's code."""

    what: str
    kind: str
    labels: tuple[str, ...]


def exercised(name: str) -> CollectorRegistry:
    """The registry of a stage that has taken, finished, produced, dropped, retried and noticed something."""
    stage = Stage(name)
    stage.taken("frames", at_ms=0)
    stage.finished(seconds=0.01)
    stage.produced.labels("verdicts").inc()
    stage.emit(DroppedByRule(reason="expired", subject="x"))
    stage.emit(AttemptRepeated(service="broker", detail="away"))
    stage.emit(Noticed(what="duplicate", subject="x"))
    stage.budget("held", limit_bytes=1).set(1)
    return stage.registry


@cache
def emitted() -> dict[str, set[str]]:
    """Name of every time series that some stage emits -> its labels."""
    found: dict[str, set[str]] = {}
    for name in STAGES:
        for metric in exercised(name).collect():
            for sample in metric.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
        for declared in _declared(STAGE_MODULES[name.replace("_", "-")]):
            for suffix in SUFFIXES[declared.kind]:
                extra = {"le"} if suffix == "_bucket" else set()
                found[f"linesight_{name}_{declared.what}{suffix}"] = {*declared.labels, *extra}
    return found


def _declared(module: str) -> set[Declared]:
    """What the code of a stage declares, its imports within the same two packages included."""
    waiting, seen, found = [module], set[str](), set[Declared]()
    while waiting:
        name = waiting.pop()
        path = ROOT / (name.replace(".", "/") + ".py")
        if name in seen or not path.is_file():
            continue
        seen.add(name)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found.update(_calls(tree))
        waiting += _imports(tree)
    return found


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("topologies", "gateways"):
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _calls(tree: ast.AST) -> Iterator[Declared]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SUFFIXES):
            continue
        words = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        if words:
            yield Declared(words[0], node.func.attr, tuple(words[2:]))
