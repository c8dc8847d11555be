"""`linesight report`: what a quality manager signs for a shift or any other period."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.services import find_kafka
from schemas.errors import ConfigurationError
from schemas.plant_file import load_plant


def command(
    plant: PlantFile = DEMO_PLANT,
    shift: Annotated[
        str | None, typer.Option(help="`last`, or the name of a shift: the last one that is over.")
    ] = None,
    from_: Annotated[str | None, typer.Option("--from", help="First moment, ISO 8601; the plant's time zone.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="End, ISO 8601; now where it is left out.")] = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("run/quality.html"),
    json: Json = False,
) -> None:
    """Writes one self-contained HTML file: yield, effectiveness, Pareto, control charts, maps, alerts, open actions, revised verdicts.

    Made from the topics and the plant file, so it can be made again.
    """
    from cli.quality_html import digest_of, plain, plant_digest_of, verdicts_digest_of, write_period
    from cli.report_period import moment_ns, period_of_shift
    from processors.period_report import Period

    if (shift is None) == (from_ is None) or (shift is not None and to is not None):
        raise ConfigurationError("expected either --shift, or --from with or without --to")
    description = load_plant(plant)
    now_ns = time.time_ns()
    if shift is not None:
        period = period_of_shift(description, shift, now_ns=now_ns)
    else:
        begin_ns = moment_ns(from_ or "", description, option="--from")
        period = Period(begin_ns, moment_ns(to, description, option="--to") if to else now_ns)
        if period.from_ns >= period.to_ns:
            raise ConfigurationError("--to: expected a moment after --from")
    source, report = write_period(
        out, plant=description, plant_dir=plant.resolve().parent, kafka=find_kafka(), period=period
    )
    if json:
        told = {
            "file": str(out),
            "digest": f"sha256:{digest_of(report)}",
            "verdicts_digest": f"sha256:{verdicts_digest_of(report)}",
            "plant_digest": f"sha256:{plant_digest_of(description)}",
            "not_kept": sorted(source.not_kept),
            "report": plain(report),
        }
        print_json(told)
        return
    print(f"{out}: {len(source.verdicts)} verdicts, figures sha256:{digest_of(report)}")
    if source.not_kept:
        print(f"not kept any more for the whole period, and left out: {', '.join(sorted(source.not_kept))}")
