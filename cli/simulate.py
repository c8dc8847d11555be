"""`linesight simulate`: the simulated plant alone (PLC, cameras, sensors), for use beside `linesight up`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from schemas.errors import ConfigurationError
from schemas.plant_file import load_plant
from schemas.telemetry import log_as_json

TRUTH = Path("run/truth.jsonl")


def command(
    plant: PlantFile = DEMO_PLANT,
    parts: Annotated[int, typer.Option(min=1, help="Parts to feed; with --start, until all begins again.")] = 240,
    rate: Annotated[float, typer.Option(min=0.01, help="Parts per second.")] = 4.0,
    seed: Annotated[int, typer.Option(help="Same seed, same parts.")] = 1,
    truth: Annotated[
        Path | None,
        typer.Option(help=f"Where the truth is written, one JSON line per part: {TRUTH}, with --start nowhere."),
    ] = None,
    start: Annotated[bool, typer.Option("--start", help="Feed without end, as soon as a gateway is there.")] = False,
    lamp_fails_at: Annotated[
        int | None,
        typer.Option(min=0, help="The parts of `demo-learning`, whose lamp fails at this one; else those of `demo`."),
    ] = None,
    fed: Annotated[bool, typer.Option("--fed", help="Parts come only when asked for over OPC UA (Feed).")] = False,
    json: Json = False,
) -> None:
    """Serves the plant's PLC, sensors and cameras until Ctrl-C. Parts come with --start, or after OPC UA method Simulation.Start."""
    from cli.simulated_certificates import commission
    from simulation.plant import run

    if start and fed:
        raise ConfigurationError("--start feeds parts and --fed waits for somebody who does: leave one of them out")
    if lamp_fails_at is not None and (start or fed):
        raise ConfigurationError(
            "--lamp-fails-at is of a run that ends, with parts that come by themselves: leave out --start and --fed"
        )
    log_as_json()
    description = load_plant(plant)
    identity = commission(description, plant_dir=plant.resolve().parent) if description.plcs else None
    # the truth of a run without end would be a file without end
    book = truth or (Path(os.devnull) if start else TRUTH)

    async def until_stopped() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run(
            description,
            parts=parts,
            rate_per_s=rate,
            seed=seed,
            truth=book,
            stop=stop,
            identity=identity,
            fed=fed,
            live=start,
            lamp_fails_at=lamp_fails_at,
        )

    if start:
        print(
            f"the simulated plant feeds parts as soon as a gateway is there: linesight up --plant {plant}; Ctrl-C stops",
            file=sys.stderr,
        )
    asyncio.run(until_stopped())
    if json:
        print_json({"truth": str(book)})
