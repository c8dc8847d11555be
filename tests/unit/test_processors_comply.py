"""Every processor keeps the contract of `processors/README.md`, as far as a program can see it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "processors"
MODULES = sorted(file for file in FOLDER.rglob("*.py") if file.name != "__init__.py")
COMPUTING = {"numpy", "scipy", "cv2", "msgspec", "river"}
OURS = {"schemas", "processors"}
OUTSIDE = {
    "asyncio",
    "socket",
    "threading",
    "subprocess",
    "logging",
    "multiprocessing",
    "http",
    "urllib",
    "os",
    "tempfile",
}
CLOCKS = {("time", "time"), ("time", "time_ns"), ("time", "monotonic"), ("time", "perf_counter"), ("time", "sleep")}
CLOCKS |= {("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


def public(tree: ast.Module) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Public classes and functions of the module, and public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node
            for member in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                    yield member


@pytest.fixture(params=MODULES, ids=lambda file: str(file.relative_to(FOLDER)))
def tree(request: pytest.FixtureRequest) -> ast.Module:
    return ast.parse(request.param.read_text(encoding="utf-8"))


def test_there_are_processors() -> None:
    assert len(MODULES) > 10


def test_it_imports_nothing_of_the_outside_world(tree: ast.Module) -> None:
    names = set(imported(tree))
    assert not names & OUTSIDE
    assert names <= OURS | COMPUTING | set(sys.stdlib_module_names)


def test_it_reads_no_clock_and_no_file(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in CLOCKS, f"line {node.lineno}: time is an argument"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print", "input"), f"line {node.lineno}: {node.func.id}"


def test_every_public_name_says_what_it_is_for(tree: ast.Module) -> None:
    assert ast.get_docstring(tree), "the module says what it is for"
    silent = [node.name for node in public(tree) if not ast.get_docstring(node)]
    assert not silent


def test_it_fits_on_a_few_screens(tree: ast.Module) -> None:
    last = max((node.end_lineno or 0) for node in tree.body)
    assert last < 400
