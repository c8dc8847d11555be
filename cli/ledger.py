"""`linesight ledger`: proves that nothing was lost: what came in against what came out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cli.exits import NotSo
from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.services import find_kafka
from schemas.plant_file import load_plant


def command(
    plant: PlantFile = DEMO_PLANT,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="File to go on from and to leave behind: run hourly, the ledger outlives retention."),
    ] = None,
    json: Json = False,
) -> None:
    """Reconciles frames with inspections, arrivals with verdicts, commands with results, rejects with the machine.

    Exit code 1 where they differ. What is younger than a minute is shown as open, not as a difference.
    """
    from topologies.reconciliation import ledger_of

    description = load_plant(plant)
    find_kafka()
    report = asyncio.run(ledger_of(description, checkpoint=checkpoint))
    if json:
        print_json(report)
    else:
        for name, count in report.counts.items():
            print(f"{name.replace('_', ' '):<28} {count}")
        for reason, count in report.dropped.items():
            print(f"{'frames dropped: ' + reason:<28} {count}")
        for topic, count in report.duplicates.items():
            print(f"{'repeated records: ' + topic:<28} {count}")
        for item in report.differences:
            print(f"DIFFERS  {item.kind}: {item.subject}: expected {item.expected}, found {item.found}")
        for item in report.open:
            print(f"open     {item.kind}: {item.subject}: waits for {item.expected}")
        print("balanced" if report.balanced else f"{report.difference_count} differences")
    if not report.balanced:
        raise NotSo(f"the ledger does not balance: {report.difference_count} differences")
