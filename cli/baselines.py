"""`linesight baselines`: a person freezes the limits of a control chart."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.producing import Sender
from cli.services import find_kafka
from schemas.chart_settings import AnyBaseline, Chart, CountedBaseline, LeftOut
from schemas.charts import ChartPoint
from schemas.errors import ConfigurationError
from schemas.message import NS_PER_S
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.plant_shape import nearest
from schemas.records import AuditEvent
from schemas.topics import AUDIT

app = typer.Typer(no_args_is_help=True, help="Baselines of control charts.")


@app.callback()
def group() -> None:
    """Baselines of control charts."""


@app.command("freeze")
def freeze(
    chart: Annotated[str, typer.Option(help="A chart under `statistics.charts`.")],
    from_: Annotated[str, typer.Option("--from", help="First moment, ISO 8601; the plant's time zone.")],
    to: Annotated[str, typer.Option(help="End, ISO 8601.")],
    by: Annotated[str, typer.Option(help="Who freezes it: the name that stands on every sheet.")],
    plant: PlantFile = DEMO_PLANT,
    subject: Annotated[
        str | None, typer.Option(help="One subject, such as `station/aoi-1`; all of the chart where it is left out.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            help="A point to leave out and its assignable cause, `2026-11-24T06:10=wrong solder`; repeatable."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file; `baselines/<chart>.yaml` beside the plant file.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Says what would be frozen; writes and sends nothing.")] = False,
    json: Json = False,
) -> None:
    """Freezes limits from the points of a period (phase I). They hold for points from now on, once the stages are started anew.

    The record is added to a file that belongs beside the plant file, under version control; the audit topic has it too.
    """
    from cli.baseline_file import add_baselines
    from cli.baseline_points import frozen_of, points_of
    from cli.report_period import moment_ns
    from processors.period_report import Period

    description = load_plant(plant)
    asked = _chart_of(description, chart)
    period = Period(moment_ns(from_, description, option="--from"), moment_ns(to, description, option="--to"))
    now_ns = time.time_ns()
    if not period.from_ns < period.to_ns <= now_ns:
        raise ConfigurationError("expected --from before --to, and both in the past: a baseline looks back")
    kafka = find_kafka()
    found = frozen_of(
        asked,
        points_of(description, kafka, asked, period),
        subject=subject,
        excluded=[_left_out(text, description) for text in exclude or ()],
        frozen_by=by,
        frozen_at_ns=now_ns,
    )
    baselines = [each.baseline for each in found]
    file = out or plant.resolve().parent / "baselines" / f"{chart}.yaml"
    if not dry_run:
        add_baselines(file, baselines)
        with Sender(plant=description, kafka=kafka) as sender:
            sender.send([(AUDIT, by, _audit(each)) for each in baselines])
    if json:
        outside = {each.baseline.subject: each.outside for each in found}
        print_json({"file": str(file), "written": not dry_run, "baselines": baselines, "outside": outside})
        return
    for each in found:
        print(_told(each.baseline))
        for point in each.outside:
            print(f"  {_outside(point, description)}")
    if not dry_run:
        print(f"{file}: written; name it under `statistics.baseline_files` and start the stages anew")


def _chart_of(plant: Plant, name: str) -> Chart:
    charts = {chart.name: chart for chart in plant.statistics.charts}
    if name in charts:
        return charts[name]
    guess = nearest(name, charts)
    hint = f"; did you mean `{guess}`?" if guess else ""
    listed = ", ".join(charts) or "the plant file has none"
    raise ConfigurationError(f"--chart: expected a chart under `statistics.charts` ({listed}), not `{name}`{hint}")


def _left_out(text: str, plant: Plant) -> LeftOut:
    from cli.report_period import moment_ns

    moment, _, cause = text.partition("=")
    if not cause.strip():
        raise ConfigurationError(f"--exclude {text!r}: expected MOMENT=CAUSE, such as 2026-11-24T06:10=wrong solder")
    return LeftOut(start_at_ns=moment_ns(moment, plant, option="--exclude"), cause=cause.strip())


def _audit(baseline: AnyBaseline) -> AuditEvent:
    subject = f"{baseline.chart}/{baseline.subject}"
    return AuditEvent(
        id=f"{baseline.frozen_by}/freeze_baseline/{subject}/{baseline.frozen_at_ns}",
        actor=baseline.frozen_by,
        action="freeze_baseline",
        subject=subject,
        at_ns=baseline.frozen_at_ns,
        detail=_told(baseline),
    )


def _told(baseline: AnyBaseline) -> str:
    from processors.chart_baselines import digest

    if isinstance(baseline, CountedBaseline):
        kind = "exact limits" if baseline.sigma_z is None else f"Laney's limits, factor {baseline.sigma_z:.3f}"
        counts = f"{baseline.counted} of {baseline.looked_at:g}"
        found = f"rate {baseline.rate:.6g} ({counts}), {kind}, {baseline.outside_exact} points outside exact limits"
    else:
        place = baseline.location
        found = (
            f"centre {place.centre:.6g}, limits {place.lower:.6g} to {place.upper:.6g}, sigma {baseline.sigma:.6g}, "
            f"{baseline.outside} points outside"
        )
    left_out = f", {len(baseline.excluded)} left out" if baseline.excluded else ""
    return f"{baseline.chart} of {baseline.subject}: {found}, from {baseline.points} points{left_out}; record {digest(baseline)}"


def _outside(point: ChartPoint, plant: Plant) -> str:
    """A point to look at, and how it is left out where a cause is found."""
    zone = ZoneInfo(plant.statistics.time_zone)
    at = datetime.fromtimestamp(point.start_at_ns / NS_PER_S, UTC).astimezone(zone).replace(tzinfo=None)
    said = f"{point.value:.6g}" + (f" ({point.count} of {point.size})" if not point.values else "")
    limits = f"limits {point.lower:.6g} to {point.upper:.6g}"
    if not point.outside and point.spread is not None:
        said = f"spread {point.spread.value:.6g}"
        limits = f"limits {point.spread.lower:.6g} to {point.spread.upper:.6g}"
    return f"outside: {said}, {limits}; with a cause: --exclude {at.isoformat()}=CAUSE"
