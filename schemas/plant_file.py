"""Reads a plant file: YAML -> `Plant`, with every complaint at its file, line and key.

Three looks: is it YAML with plain values (`plant_yaml`), has it the shape of a plant (`plant_shape`), do its names and limits agree
(`plant_checks`). All complaints come together; only where a needed value is missing or wrong the last look has to wait.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as types

from schemas.plant import Plant
from schemas.plant_checks import contradictions, missing_files
from schemas.plant_repair import repaired
from schemas.plant_shape import shape_findings
from schemas.plant_source import PlantFileInvalid, PlantSource
from schemas.plant_yaml import Finding


def load_plant(path: Path) -> Plant:
    """The plant that `path` describes. Raises `PlantFileInvalid` with all complaints that can be told at once."""
    return _checked(path, lambda plant: itertools.chain(contradictions(plant), missing_files(plant, path.parent)))


def load_unfinished_plant(path: Path) -> Plant:
    """The same, though reference images that it names may not be there yet: for whoever makes them."""
    return _checked(path, contradictions)


def _checked(path: Path, checks: Callable[[Plant], Iterable[Finding]]) -> Plant:
    source = PlantSource(path)
    found = [*source.findings, *shape_findings(source.data, types.type_info(Plant))]
    try:
        # not strict: numbers that come from the environment are text
        plant = msgspec.convert(repaired(source.data, found), Plant, strict=False)
    except msgspec.ValidationError as error:
        _complain(source, found or [((), str(error), None)])
        raise
    meant = [finding for finding in checks(plant) if not any(_touch(finding, other) for other in found)]
    _complain(source, [*found, *meant])
    return plant


def _touch(finding: Finding, other: Finding) -> bool:
    """Whether one of them is about something inside the other, or about the same."""
    return all(mine == its for mine, its in zip(finding[0], other[0], strict=False))


def plant_schema() -> dict[str, Any]:
    """JSON Schema of a plant file, for editors."""
    return msgspec.json.schema(Plant)


def _complain(source: PlantSource, findings: Iterable[Finding]) -> None:
    complaints = [source.complaint(finding) for finding in findings]
    if complaints:
        raise PlantFileInvalid(sorted(complaints, key=lambda complaint: (complaint.file, complaint.line)))
