"""`linesight simulate`: the simulated plant alone (PLC, cameras, sensors), for use with `linesight up`."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from schemas.plant_file import load_plant
from schemas.telemetry import log_as_json


def command(
    plant: PlantFile = DEMO_PLANT,
    parts: Annotated[int, typer.Option(min=1, help="Parts to feed.")] = 240,
    rate: Annotated[float, typer.Option(min=0.01, help="Parts per second.")] = 4.0,
    seed: Annotated[int, typer.Option(help="Same seed, same parts.")] = 1,
    truth: Annotated[Path, typer.Option(help="Where the truth is written, one JSON line per part.")] = Path(
        "run/truth.jsonl"
    ),
    fed: Annotated[bool, typer.Option(help="Parts come only when asked for over OPC UA (Feed).")] = False,
    json: Json = False,
) -> None:
    """Serves the plant's PLC and cameras until Ctrl-C; parts are fed after OPC UA method Simulation.Start."""
    from simulation.plant import run

    log_as_json()
    description = load_plant(plant)
    truth.parent.mkdir(parents=True, exist_ok=True)

    async def until_stopped() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run(description, parts=parts, rate_per_s=rate, seed=seed, truth=truth, stop=stop, fed=fed)

    asyncio.run(until_stopped())
    if json:
        print_json({"truth": str(truth)})
