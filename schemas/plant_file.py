"""Reads a plant file: YAML -> `Plant`, with every complaint at its file, line and key.

`${NAME}` and `${NAME:-default}` in a value are taken from the environment, as in a Compose file.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import inspect as types

from schemas.errors import ConfigurationError
from schemas.plant import Plant
from schemas.plant_checks import contradictions

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_STEP = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")

Path_ = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """One thing wrong with a plant file; `line` counts from 1, `key` is the path to the value."""

    file: str
    line: int
    key: str
    expected: str
    nearest: str | None = None

    def __str__(self) -> str:
        hint = f"; did you mean `{self.nearest}`?" if self.nearest else ""
        return f"{self.file}:{self.line}: {self.key}: {self.expected}{hint}"


class PlantFileInvalid(ConfigurationError):
    """The plant file has `complaints`; the message lists them, one a line."""

    def __init__(self, complaints: list[Complaint]) -> None:
        super().__init__("\n".join(str(complaint) for complaint in complaints))
        self.complaints = complaints


def load_plant(path: Path) -> Plant:
    """The plant that `path` describes. Raises `PlantFileInvalid` with all complaints that can be told at once."""
    text, name = _read(path), str(path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PlantFileInvalid(
            [Complaint(file=name, line=line, key="$", expected=f"valid YAML: {error.problem}")]
        ) from error
    except yaml.YAMLError as error:
        raise PlantFileInvalid([Complaint(file=name, line=1, key="$", expected=f"valid YAML: {error}")]) from error
    if root is None:
        raise PlantFileInvalid(
            [Complaint(file=name, line=1, key="$", expected="a plant description; the file is empty")]
        )
    lines: dict[Path_, int] = {}
    duplicates: list[tuple[Path_, int]] = []
    data = _to_data(root, (), lines, duplicates)

    def complain(path: Path_, expected: str, nearest: str | None = None) -> Complaint:
        return Complaint(file=name, line=_line(lines, path), key=_show(path), expected=expected, nearest=nearest)

    found = [
        Complaint(file=name, line=line, key=_show(path), expected="this key only once") for path, line in duplicates
    ]
    for where, text_value in _unset_variables(data, ()):
        found.append(
            complain(where, f"environment variable {text_value} to be set, or a default: ${{{text_value}:-value}}")
        )
    found += [
        complain(where, "a known key", _nearest(str(where[-1]), known))
        for where, known in _unknown_keys(data, types.type_info(Plant), ())
    ]
    if found:
        raise PlantFileInvalid(found)
    try:
        plant = msgspec.convert(_substitute(data), Plant, strict=False)
    except msgspec.ValidationError as error:
        raise PlantFileInvalid([_from_msgspec(error, complain)]) from error
    found = [complain(where, expected, nearest) for where, expected, nearest in contradictions(plant, path.parent)]
    if found:
        raise PlantFileInvalid(found)
    return plant


def plant_schema() -> dict[str, Any]:
    """JSON Schema of a plant file, for editors."""
    return msgspec.json.schema(Plant)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path}: no such plant file; plants/demo.yaml is an example") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as UTF-8 text: {error}") from error


def _to_data(node: yaml.Node, path: Path_, lines: dict[Path_, int], duplicates: list[tuple[Path_, int]]) -> Any:
    """Plain data of a YAML node; remembers the line of each path and the keys that stand twice."""
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            where = (*path, key)
            if key in result:
                duplicates.append((where, key_node.start_mark.line + 1))
            lines[where] = key_node.start_mark.line + 1
            result[key] = _to_data(value_node, where, lines, duplicates)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_to_data(item, (*path, index), lines, duplicates) for index, item in enumerate(node.value)]
    # a scalar resolves as YAML's own rules say (1 -> int, true -> bool, null -> None)
    return yaml.SafeLoader("").construct_object(node)


def _substitute(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _substitute(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_substitute(item) for item in data]
    if isinstance(data, str):
        return _VARIABLE.sub(lambda m: os.environ.get(m["name"], m["default"] or ""), data)
    return data


def _unset_variables(data: Any, path: Path_) -> Iterator[tuple[Path_, str]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _unset_variables(value, (*path, key))
    elif isinstance(data, list):
        for index, item in enumerate(data):
            yield from _unset_variables(item, (*path, index))
    elif isinstance(data, str):
        for match in _VARIABLE.finditer(data):
            if match["default"] is None and match["name"] not in os.environ:
                yield path, match["name"]


def _unknown_keys(data: Any, expected: types.Type, path: Path_) -> Iterator[tuple[Path_, list[str]]]:
    """Paths of keys that no struct of `expected` knows, with the keys it does know."""
    if isinstance(expected, types.UnionType):
        structs = [item for item in expected.types if isinstance(item, types.StructType)]
        chosen = _tagged(data, structs)
        if chosen is not None:
            yield from _unknown_keys(data, chosen, path)
    elif isinstance(expected, types.StructType) and isinstance(data, dict):
        fields = {field.encode_name: field.type for field in expected.fields}
        tag_field = expected.tag_field
        for key, value in data.items():
            if key in fields:
                yield from _unknown_keys(value, fields[key], (*path, key))
            elif key != tag_field:
                yield (*path, key), sorted([*fields, *([tag_field] if tag_field else [])])
    elif isinstance(expected, types.VarTupleType | types.ListType) and isinstance(data, list):
        for index, item in enumerate(data):
            yield from _unknown_keys(item, expected.item_type, (*path, index))
    elif isinstance(expected, types.Metadata):
        yield from _unknown_keys(data, expected.type, path)


def _tagged(data: Any, structs: list[types.StructType]) -> types.StructType | None:
    if not isinstance(data, dict):
        return None
    if len(structs) == 1:
        return structs[0]
    return next((s for s in structs if s.tag_field and data.get(s.tag_field) == s.tag), None)


def _nearest(word: str, known: list[str]) -> str | None:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return close[0] if close else None


def _from_msgspec(error: msgspec.ValidationError, complain: Any) -> Complaint:
    """msgspec says `Expected ..., got ... - at `$.lines[0].name``: split it into path and expectation."""
    text, _, where = str(error).partition(" - at `$")
    path: list[str | int] = []
    for step in _STEP.finditer(where.rstrip("`")):
        index = step["index"]
        path.append(int(index) if index and index.isdigit() else step["key"] or 0)
    complaint: Complaint = complain(tuple(path), text[0].lower() + text[1:])
    return complaint


def _line(lines: dict[Path_, int], path: Path_) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _show(path: Path_) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
