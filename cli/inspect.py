"""`linesight inspect`: listed pictures through the real line; one result row per picture, scored where labels are given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json, PlantFile, print_json
from schemas.settings import StageSettings


def command(
    plant: PlantFile,
    labels: Annotated[
        Path, typer.Option(help="One JSON object a line: image, and template, group, boxes where there are some.")
    ],
    out: Annotated[Path | None, typer.Option(help="Where the result rows go, one JSON object a line.")] = None,
    tuned_on: Annotated[
        list[str] | None, typer.Option(help="Groups that thresholds were chosen on: the others are scored apart.")
    ] = None,
    json: Json = False,
) -> None:
    """Publishes the pictures as camera frames; they pass Kafka, Triton, judge and a simulated PLC. Report: run/inspect.json.

    Exit code 1 if the ledger does not balance.
    """
    from rich.console import Console

    from cli.exits import NotSo
    from cli.inspect_run import InspectRun
    from cli.report_files import write_reports
    from cli.run_folder import fresh_run_folder
    from cli.scores import print_scores
    from cli.simulated_plant import choose_ports
    from cli.summary_text import print_summary
    from schemas.plant_file import load_plant

    choose_ports()
    description = load_plant(plant)
    base = StageSettings().run_dir
    console = Console(stderr=True)
    with fresh_run_folder(base / "inspect") as run_dir:
        os.environ.setdefault("OBJECT_STORE_URL", str(run_dir.absolute() / "objects"))
        run = InspectRun(
            plant=description,
            plant_file=plant,
            labels=labels,
            rows=out or run_dir / "rows.jsonl",
            run_dir=run_dir,
            console=console,
        )
        outcome = run.whole(tuned_on=frozenset(tuned_on or ()))
        file = base / "inspect.json"
        write_reports(file, outcome)
    if json:
        print_json(outcome.report)
    else:
        print_summary(console, outcome.report, file)
        print_scores(console, outcome.report["scores"])
    if not outcome.report["ledger"]["balanced"]:
        raise NotSo(
            f"the ledger does not balance: {len(outcome.report['ledger']['differences'])} differences, see {file}"
        )
