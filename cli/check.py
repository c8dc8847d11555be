"""`linesight check F`: validates a plant file."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from cli.options import Json, print_json
from schemas.connection_warnings import connection_warnings
from schemas.plant_file import load_plant
from schemas.plant_source import Complaint, PlantFileInvalid, PlantSource
from schemas.plant_warnings import plant_warnings

SECRETS = ("password", "secret")


def command(
    file: Annotated[Path, typer.Argument(help="Plant file (YAML).")],
    json: Json = False,
) -> None:
    """Says what is wrong with a plant file: file, line, key, what was expected, the nearest known key; what does nothing or is
    not there yet, and which PLCs are written to."""
    try:
        plant = load_plant(file)
    except PlantFileInvalid as invalid:
        if not json:
            raise
        print_json({"file": str(file), "valid": False, "complaints": [_told(c) for c in invalid.complaints]})
        raise typer.Exit(2) from invalid
    from cli.chart_notes import chart_notes, told
    from cli.recipe_warnings import recipe_warnings

    counts = {
        "line": len(plant.lines),
        "station": len(plant.stations),
        "camera": len(plant.cameras),
        "PLC": len(plant.plcs),
        "recipe": len(plant.recipes),
        "alert": len(plant.alerts),
    }
    source = PlantSource(file)
    found = chain(plant_warnings(plant), connection_warnings(plant, file.parent), recipe_warnings(plant, source.data))
    warnings = [source.complaint(finding) for finding in found]
    notes = chart_notes(plant)
    if json:
        print_json(
            {
                "file": str(file),
                "valid": True,
                "complaints": [],
                "warnings": [_told(warning) for warning in warnings],
                "plant": _without_secrets(msgspec.to_builtins(plant)),
                "charts": notes,
                "writes": {plc.name: not plc.observe for plc in plant.plcs},
            }
        )
    else:
        for warning in warnings:
            print(f"warning: {warning}")
        print(
            f"{file}: valid; plant {plant.plant}: "
            + ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items())
        )
        for plc in plant.plcs:
            print(f"{plc.name}: {'only observed, nothing is written to it' if plc.observe else 'is written to'}")
        for note in notes:
            print(told(note, plant_file=file))


def _told(complaint: Complaint) -> dict[str, Any]:
    return {
        "file": complaint.file,
        "line": complaint.line,
        "key": complaint.key,
        "expected": complaint.expected,
        "nearest": complaint.nearest,
    }


def _without_secrets(value: Any) -> Any:
    """The same, with what came from the environment to stay there."""
    if isinstance(value, dict):
        return {key: "..." if key in SECRETS else _without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return value
