"""`linesight demo`: a whole line, live; then a summary that a plant engineer can check."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from schemas.settings import StageSettings


def command(
    plant: PlantFile = DEMO_PLANT,
    parts: Annotated[int, typer.Option(min=1, help="Parts to make.")] = 240,
    rate: Annotated[float, typer.Option(min=0.01, help="Parts per second.")] = 4.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same parts and defects.")] = 1,
    report: Annotated[Path | None, typer.Option(help="Where report.json goes; report.html goes beside it.")] = None,
    json: Json = False,
) -> None:
    """Starts Kafka, Triton, every stage and a simulated plant; ends with run/report.json, run/report.html and run/quality.html.

    Exit code 1 if the ledger does not balance.
    """
    from rich.console import Console

    from cli.demo_run import DemoRun, say_with_time
    from cli.exits import NotSo
    from cli.quality_html import write_period
    from cli.report_files import write_reports
    from cli.run_folder import fresh_run_folder
    from cli.services import find_kafka
    from cli.simulated_plant import choose_ports
    from cli.summary_text import print_summary
    from processors.period_report import Period
    from schemas.plant_file import load_plant

    choose_ports()
    description = load_plant(plant)
    base = StageSettings().run_dir
    console = Console(stderr=True)
    with fresh_run_folder(base / "demo") as run_dir:
        os.environ.setdefault("OBJECT_STORE_URL", str(run_dir.absolute() / "objects"))
        # the views of a part come at once: two processes look at them side by side
        workers = {"inspect": min(2, description.kafka.partitions)}
        with DemoRun(
            plant=description, plant_file=plant, run_dir=run_dir, say=say_with_time(console), workers=workers
        ) as run:
            since_ns = time.time_ns()
            outcome = run.whole(parts=parts, rate_per_s=rate, seed=seed, console=console)
            file = report or base / "report.json"
            write_reports(file, outcome)  # first: what comes next reads the broker, and must not cost the report
            quality = file.with_name("quality.html")
            write_period(
                quality,
                plant=description,
                plant_dir=plant.resolve().parent,
                kafka=find_kafka(),
                period=Period(since_ns, time.time_ns()),
            )
    if json:
        print_json(outcome.report)
    else:
        print_summary(console, outcome.report, file)
        console.print(f"to sign: {quality}")
    if not outcome.report["ledger"]["balanced"]:
        raise NotSo(
            f"the ledger does not balance: {len(outcome.report['ledger']['differences'])} differences, see {file}"
        )
