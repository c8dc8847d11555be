"""YAML text of a plant file -> plain data, with the line of every value and a finding for whatever is not plain.

Anchors, aliases and merge keys (`<<`) work. `${NAME}` and `${NAME:-default}` in a value are taken from the environment, as in
a Compose file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import yaml

from schemas.yaml_mistakes import told

Place = tuple[str | int, ...]
"""Path to a value: keys and list positions from the top of the file."""

Finding = tuple[Place, str, str | None]
"""Path to a value, what was expected there, the nearest known word."""

MAX_VALUES = 200_000
MAX_SHOWN = 60
_MERGE = "tag:yaml.org,2002:merge"
_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str")}
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_NOT_PLAIN_NUMBER = re.compile(r"[-+]?0[0-9_]+|[-+]?0[xob].*|.*[:_].*")
"""Octal, hexadecimal, binary, base 60 (`1:30`) and `1_000`: numbers of YAML 1.1 that a reader takes for something else."""
_NOT_A_VARIABLE = re.compile(r"\$\{[^}]*\}?|^\$[A-Z][A-Z0-9_]*$")
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


class NotYaml(ValueError):
    """The text cannot be taken apart at all; `line` counts from 1."""

    def __init__(self, line: int, expected: str) -> None:
        super().__init__(expected)
        self.line = line
        self.expected = expected


class Document:
    """The data of a plant file. `findings` holds what YAML allows and a plant file does not, `readings` what YAML makes of words
    such as `no`: to be told where that is not what was expected."""

    def __init__(self, text: str) -> None:
        """Raises `NotYaml`."""
        self.findings: list[Finding] = []
        self.readings: dict[Place, str] = {}
        self._lines: dict[Place, int] = {}
        self._open: set[int] = set()
        self._values = 0
        root = _compose(text)
        if root is None:
            raise NotYaml(1, "a plant description; the file is empty")
        self.data = self._data(root, ())

    def line(self, place: Place) -> int:
        """Line of a value, or of what holds it where it is absent; counts from 1."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)

    def _data(self, node: yaml.Node, place: Place) -> Any:
        line = node.start_mark.line + 1
        self._lines.setdefault(place, line)
        self._values += 1
        if self._values > MAX_VALUES:
            raise NotYaml(line, f"at most {MAX_VALUES:,} values; aliases are counted as often as they are used")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        if id(node) in self._open:
            raise NotYaml(line, "no alias inside the value that it stands for")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            return [self._data(item, (*place, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                # YAML merge type: the mapping's own keys win, then the first of several merged mappings
                for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    merged = {**self._merge_source(source, place), **merged}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            key = "?"
            if isinstance(key_node, yaml.ScalarNode):
                key = _characters(str(key_node.value), line=key_node.start_mark.line + 1)
            where = (*place, key)
            self._lines[where] = key_node.start_mark.line + 1
            if key in own:
                self.findings.append((where, "this key only once", None))
            own[key] = self._data(value_node, where)
        return {**merged, **own}

    def _merge_source(self, node: yaml.Node, place: Place) -> dict[str, Any]:
        found = self._data(node, place)
        if isinstance(found, dict):
            return found
        self.findings.append((place, "a mapping, or a list of mappings, after `<<`", None))
        return {}

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        if node.tag == _TIMESTAMP:
            return self._from_environment(node.value, place)
        if node.tag not in _PLAIN:
            self.findings.append((place, f"a plain value; the tag `{node.tag}` is not known here", None))
            return None
        try:
            value = yaml.SafeLoader("").construct_object(node)
        except (ValueError, yaml.YAMLError):
            self.findings.append((place, f"a value that is what its tag says; `{node.value}` is not", None))
            return None
        if not isinstance(value, str):
            self._note_reading(node.value, value, place)
            return value
        return _characters(self._from_environment(value, place), line=node.start_mark.line + 1)

    def _note_reading(self, written: str, value: Any, place: Place) -> None:
        if isinstance(value, bool) and written.lower() != str(value).lower():
            self.readings[place] = f"YAML reads `{written}` as {str(value).lower()}"
        elif isinstance(value, int | float) and _NOT_PLAIN_NUMBER.fullmatch(written):
            expected = f"a number in plain digits, or text in quotes, not `{written[:MAX_SHOWN]}`"
            # longer ones Python does not write out (sys.set_int_max_str_digits)
            read = f": YAML reads it as {value}" if len(written) <= MAX_SHOWN else ""
            self.findings.append((place, expected + read, None))

    def _from_environment(self, text: str, place: Place) -> str:
        for found in _NOT_A_VARIABLE.finditer(_VARIABLE.sub("", text)):
            expected = f"a variable as ${{NAME}} or ${{NAME:-default}}, not `{found[0]}`"
            self.findings.append((place, expected, None))
        for name in _unset(text):
            expected = f"environment variable {name} to be set, or a default: ${{{name}:-value}}"
            self.findings.append((place, expected, None))
        return _VARIABLE.sub(lambda found: os.environ.get(found["name"], found["default"] or ""), text)


def _characters(text: str, *, line: int) -> str:
    """`text`, whose characters beyond U+FFFF may be written as JSON writes them, in two halves. Raises `NotYaml` for half a one."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise NotYaml(line, "whole characters; half a surrogate pair is none") from None


def _unset(text: str) -> Iterator[str]:
    for found in _VARIABLE.finditer(text):
        if found["default"] is None and found["name"] not in os.environ:
            yield found["name"]


def _compose(text: str) -> yaml.Node | None:
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise NotYaml(*told(error)) from error
    except yaml.YAMLError as error:
        raise NotYaml(1, f"valid YAML: {error}") from error
    except RecursionError as error:
        raise NotYaml(1, "valid YAML: it is nested too deeply") from error
    return root
