"""A plant file with its recipe files as they were written: data, where each value stands, and how a mistake there is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
