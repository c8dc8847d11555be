"""`linesight check F`: validates a plant file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cli.options import Json, print_json
from schemas.plant_file import load_plant
from schemas.plant_source import PlantFileInvalid


def command(
    file: Annotated[Path, typer.Argument(help="Plant file (YAML).")],
    json: Json = False,
) -> None:
    """Says what is wrong with a plant file: file, line, key, what was expected, the nearest known key."""
    try:
        plant = load_plant(file)
    except PlantFileInvalid as invalid:
        if not json:
            raise
        complaints = [
            {"file": c.file, "line": c.line, "key": c.key, "expected": c.expected, "nearest": c.nearest}
            for c in invalid.complaints
        ]
        print_json({"file": str(file), "valid": False, "complaints": complaints})
        raise typer.Exit(2) from invalid
    counts = {
        "lines": len(plant.lines),
        "stations": len(plant.stations),
        "cameras": len(plant.cameras),
        "plcs": len(plant.plcs),
        "recipes": len(plant.recipes),
        "alerts": len(plant.alerts),
    }
    from cli.chart_notes import chart_notes, told

    notes = chart_notes(plant)
    if json:
        answer = {"file": str(file), "valid": True, "complaints": [], "plant": msgspec.to_builtins(plant)}
        print_json({**answer, "charts": notes})
    else:
        print(f"{file}: valid; plant {plant.plant}: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
        for note in notes:
            print(told(note))
