"""A plant file with its recipe and baseline files as they were written: data, where each value stands, and how a mistake there is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import ConfigurationError
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


class PlantSource:
    """A plant file and the files of recipes and baselines that it names, as one description that knows where each value stands.

    `data` is the whole description, `findings` what YAML allows and a plant file does not.
    """

    def __init__(self, path: Path) -> None:
        """Raises `PlantFileInvalid`."""
        self._path = path
        self._document = _document(path)
        self.data = self._document.data
        self.findings = list(self._document.findings)
        self._included: dict[Place, tuple[Path, Document, Place]] = {}
        if isinstance(self.data, dict):
            self._include_recipes(self.data)
            if isinstance(self.data.get("statistics"), dict):
                self._include_baselines(self.data["statistics"])

    def _include_recipes(self, data: dict[str, Any]) -> None:
        recipes = data.get("recipes", [])
        for document, file in self._files(data, ("recipe_files",), "a file with a recipe"):
            if isinstance(recipes, list):
                self._include(("recipes", len(recipes)), file, document, ())
                recipes.append(document.data)
                data["recipes"] = recipes

    def _include_baselines(self, statistics: dict[str, Any]) -> None:
        baselines = statistics.get("baselines", [])
        place: Place = ("statistics", "baseline_files")
        for document, file in self._files(statistics, place, "a file that `linesight baselines freeze` wrote"):
            records = document.data.get("baselines") if isinstance(document.data, dict) else None
            if not isinstance(records, list) or not isinstance(baselines, list):
                expected = f"a file with a list under `baselines`; {file} has none"
                self.findings.append((place, expected, None))
                continue
            for number, record in enumerate(records):
                self._include(("statistics", "baselines", len(baselines)), file, document, ("baselines", number))
                baselines.append(record)
            statistics["baselines"] = baselines

    def _files(self, data: dict[str, Any], place: Place, expected: str) -> Iterator[tuple[Document, Path]]:
        """The files that the last key of `place` names, read; those that are not there become findings."""
        names = data.get(str(place[-1]))
        for index, name in enumerate(names if isinstance(names, list) else []):
            file = self._path.parent / str(name)
            if file.is_file():
                yield _document(file), file
            else:
                self.findings.append(((*place, index), f"{expected}; {file} does not exist", None))

    def _include(self, place: Place, file: Path, document: Document, at: Place) -> None:
        self._included[place] = file, document, at
        found = ((where[len(at) :], said, guess) for where, said, guess in document.findings if where[: len(at)] == at)
        self.findings += [((*place, *where), said, guess) for where, said, guess in found]

    def complaint(self, finding: Finding) -> Complaint:
        """The finding, with the file, line and key where its value stands."""
        place, expected, nearest = finding
        path, document = self._path, self._document
        for length in range(2, len(place) + 1):
            if place[:length] in self._included:
                path, document, at = self._included[place[:length]]
                place = (*at, *place[length:])
                break
        reading = document.readings.get(place)
        return Complaint(
            file=str(path),
            line=document.line(place),
            key=_shown(place),
            expected=f"{expected} ({reading})" if reading else expected,
            nearest=nearest,
        )


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
