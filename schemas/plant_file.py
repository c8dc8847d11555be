"""Reads a plant file: YAML -> `Plant`, with every complaint at its file, line and key.

Three looks, each only when the one before found nothing: is it YAML with plain values (`plant_yaml`), has it the shape of a
plant (`plant_shape`), do its names and limits agree (`plant_checks`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as types

from schemas.errors import ConfigurationError
from schemas.plant import Plant
from schemas.plant_checks import contradictions, missing_files
from schemas.plant_shape import shape_findings
from schemas.plant_yaml import Document, Finding, NotYaml, Place


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
        return f"{self.file}:{self.line}: {self.key}: expected {self.expected}{hint}"


class PlantFileInvalid(ConfigurationError):
    """The plant file has `complaints`; the message lists them, one a line."""

    def __init__(self, complaints: list[Complaint]) -> None:
        super().__init__("\n".join(str(complaint) for complaint in complaints))
        self.complaints = complaints


def load_plant(path: Path) -> Plant:
    """The plant that `path` describes. Raises `PlantFileInvalid` with all complaints that can be told at once."""
    return _checked(path, lambda plant: itertools.chain(contradictions(plant), missing_files(plant, path.parent)))


def load_unfinished_plant(path: Path) -> Plant:
    """The same, though reference images that it names may not be there yet: for whoever makes them."""
    return _checked(path, contradictions)


def _checked(path: Path, checks: Callable[[Plant], Iterable[Finding]]) -> Plant:
    source = PlantSource(path)
    _complain(source, [*source.findings, *shape_findings(source.data, types.type_info(Plant))])
    try:
        # not strict: numbers that come from the environment are text
        plant = msgspec.convert(source.data, Plant, strict=False)
    except msgspec.ValidationError as error:
        _complain(source, [((), str(error), None)])
        raise
    _complain(source, checks(plant))
    return plant


def plant_schema() -> dict[str, Any]:
    """JSON Schema of a plant file, for editors."""
    return msgspec.json.schema(Plant)


def _complain(source: PlantSource, findings: Iterable[Finding]) -> None:
    complaints = [source.complaint(finding) for finding in findings]
    if complaints:
        raise PlantFileInvalid(sorted(complaints, key=lambda complaint: (complaint.file, complaint.line)))


class PlantSource:
    """A plant file and the recipe files that it names, as one description that knows where each value stands.

    `data` is the whole description, `findings` what YAML allows and a plant file does not.
    """

    def __init__(self, path: Path) -> None:
        """Raises `PlantFileInvalid`."""
        self._path = path
        self._document = _document(path)
        self.data = self._document.data
        self.findings = list(self._document.findings)
        self._included: dict[int, tuple[Path, Document]] = {}
        if not isinstance(self.data, dict) or not isinstance(self.data.get("recipe_files"), list):
            return
        recipes = self.data.setdefault("recipes", [])
        if not isinstance(recipes, list):
            return
        for index, name in enumerate(self.data["recipe_files"]):
            file = path.parent / str(name)
            if not file.is_file():
                self.findings.append((("recipe_files", index), f"a file with a recipe; {file} does not exist", None))
                continue
            document = _document(file)
            place: Place = ("recipes", len(recipes))
            self._included[len(recipes)] = file, document
            self.findings += [((*place, *where), expected, guess) for where, expected, guess in document.findings]
            recipes.append(document.data)

    def complaint(self, finding: Finding) -> Complaint:
        """The finding, with the file, line and key where its value stands."""
        place, expected, nearest = finding
        path, document = self._path, self._document
        if len(place) > 1 and place[0] == "recipes" and place[1] in self._included:
            path, document = self._included[int(place[1])]
            place = place[2:]
        line, key = document.line(place), _shown(place)
        return Complaint(file=str(path), line=line, key=key, expected=expected, nearest=nearest)


def _document(path: Path) -> Document:
    try:
        return Document(_read(path))
    except NotYaml as error:
        complaint = Complaint(file=str(path), line=error.line, key=_shown(()), expected=error.expected)
        raise PlantFileInvalid([complaint]) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path}: no such plant file; plants/demo.yaml is an example") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as UTF-8 text: {error}") from error


def _shown(place: Place) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".") or "plant file"
