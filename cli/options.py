"""Options that several verbs share, and how they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

PlantFile = Annotated[Path, typer.Option("--plant", help="Plant file (YAML).", show_default=True)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

DEMO_PLANT = Path("plants/demo.yaml")


def one_line(text: str) -> str:
    """`text` as it may stand in a line of a terminal. Names of parts and what a PLC says may hold anything: a line's end would look like
    another line of ours, and an escape sequence would be obeyed."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def print_json(value: Any) -> None:
    """One JSON document on standard output; msgspec structs become maps, bytes become base64."""
    print(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """One JSON line on standard output."""
    print(msgspec.json.encode(value).decode(), flush=True)
