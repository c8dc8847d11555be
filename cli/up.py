"""`linesight up`: all stages of a plant on this machine, supervised."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json_line
from schemas.plant_file import load_plant
from schemas.settings import StageSettings

Workers = Annotated[
    list[str],
    typer.Option("--workers", metavar="STAGE=N", help="Processes of a stage that can have several; may be repeated."),
]


def command(plant: PlantFile = DEMO_PLANT, workers: Workers = [], json: Json = False) -> None:  # noqa: B006
    """Starts Kafka and Triton (unless the environment names others) and every stage; restarts what crashes; Ctrl-C drains and stops.

    A PLC or camera that is away keeps nothing from starting: it says which stages wait, and for what.
    """
    from cli.local_line import LocalLine
    from cli.run_folder import only_run
    from cli.workers import read_workers

    def say(text: str) -> None:
        now = datetime.now().astimezone()
        if json:
            print_json_line({"event": text, "at": now.isoformat(timespec="milliseconds")})
        else:
            print(f"{now:%H:%M:%S} {text}", flush=True)

    counts = read_workers(workers)
    description = load_plant(plant)
    run_dir = StageSettings().run_dir
    with (
        only_run(run_dir, lock_path=run_dir / "up.lock"),
        LocalLine(plant=description, plant_file=plant, run_dir=run_dir, say=say, workers=counts) as line,
    ):
        line.start_services()
        line.start_stages()
        for name, port in line.health_ports.items():
            say(f"  {name}: metrics and health at 127.0.0.1:{port}")
        say("running; Ctrl-C stops")
        line.run_until_signal()
    say("stopped")
