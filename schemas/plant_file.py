"""Reads a plant file: YAML -> `Plant`, with every complaint at its file, line and key.

Three looks: is it YAML with plain values (`plant_yaml`), has it the shape of a plant (`plant_shape`), do its names and limits agree
(`plant_checks`). All complaints come together; only where a needed value is missing or wrong the last look has to wait.
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
from schemas.plant_repair import repaired
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
    try:
        document = Document(_read(path))
    except NotYaml as error:
        complaint = Complaint(file=str(path), line=error.line, key=_shown(()), expected=error.expected)
        raise PlantFileInvalid([complaint]) from error
    found = [*document.findings, *shape_findings(document.data, types.type_info(Plant))]
    try:
        # not strict: numbers that come from the environment are text
        plant = msgspec.convert(repaired(document.data, found), Plant, strict=False)
    except msgspec.ValidationError as error:
        _complain(path, document, found or [((), str(error), None)])
        raise
    meant = [finding for finding in checks(plant) if not any(_touch(finding, other) for other in found)]
    _complain(path, document, [*found, *meant])
    return plant


def _touch(finding: Finding, other: Finding) -> bool:
    """Whether one of them is about something inside the other, or about the same."""
    return all(mine == its for mine, its in zip(finding[0], other[0], strict=False))


def plant_schema() -> dict[str, Any]:
    """JSON Schema of a plant file, for editors."""
    return msgspec.json.schema(Plant)


def _complain(path: Path, document: Document, findings: Iterable[Finding]) -> None:
    complaints = [
        Complaint(
            file=str(path),
            line=document.line(place),
            key=_shown(place),
            expected=f"{expected} ({reading})" if (reading := document.readings.get(place)) else expected,
            nearest=nearest,
        )
        for place, expected, nearest in findings
    ]
    if complaints:
        raise PlantFileInvalid(sorted(complaints, key=lambda complaint: complaint.line))


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
