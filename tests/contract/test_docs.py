"""What the repository tells people: links that lead somewhere, and commands and options that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli.main import app

ROOT = Path(__file__).parents[2]
FOLDERS = (".", "docs", "docs/decisions", "docker", "ops/runbooks", "processors")
DOCUMENTS = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]

_FENCE = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
_COMMAND = re.compile(r"(?:^|[\s`])(?:\.venv/bin/)?linesight (?P<words>[a-z][^`|;#]*)")
_OPTION = re.compile(r"--[a-z][a-z-]*")


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", _prose(path)):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_every_anchor_is_a_heading(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([\w-]+)\)", _prose(path)):
        text = _prose(path.parent / target if target else path)
        headings = {
            re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in text.splitlines()
            if line.startswith("#")
        }
        assert anchor in headings, anchor


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_every_command_that_is_shown_has_such_a_verb_and_such_options(path: Path) -> None:
    for words in _commands(path.read_text(encoding="utf-8")):
        verb, rest = _linesight(), words
        while rest and rest[0] in getattr(verb, "commands", {}):
            verb, rest = verb.commands[rest[0]], rest[1:]
        assert verb is not _linesight(), f"linesight has no verb {words[0]}"
        assert not _given(rest) - _taken(verb), f"linesight {' '.join(words)}"


def test_the_readme_lists_every_verb() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"lists the verbs: (.*?)\. Exit codes", readme, re.DOTALL)
    assert set(re.findall(r"`([\w-]+)`", listed)) == set(_linesight().commands)


@cache
def _linesight() -> Any:
    """The command line as Click has it. It takes a while to put together."""
    return get_command(app)


def _prose(path: Path) -> str:
    """Without fenced blocks: a `#` there is a comment, not a heading."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def _commands(text: str) -> Iterator[list[str]]:
    """The words behind `linesight` of what stands between backticks: in a fenced block by the line, in prose by the span."""
    spans = [line for block in _FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    spans += re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))
    for span in spans:
        for found in _COMMAND.finditer(span):
            yield found["words"].split()


def _given(words: list[str]) -> set[str]:
    return {option for word in words for option in _OPTION.findall(word.partition("=")[0])}


def _taken(verb: Any) -> set[str]:
    return {option for parameter in verb.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
