"""`linesight report`: the sheet of a period as one self-contained HTML file, to be signed."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import cv2
import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from scipy.stats import norm

from cli import chart_drawing, charts
from cli.report_source import Source, read_source
from processors.period_report import Period, PeriodReport, period_report
from processors.report_chart import MarkedPoint
from processors.spc.run_rule_lengths import ORDER_RULES, run_rule_length
from processors.spc.run_rules import RunRule
from schemas.message import NS_PER_S
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.statistics_settings import PChart

NS_PER_HOUR = 3600 * NS_PER_S
FROM_VERDICTS = ("rolled_throughput", "pareto", "maps", "associations", "corrections", "challenges", "changes")
"""Parts of a report that follow from verdicts and the plant file, beside the stations' figures."""
FROM_STATES = ("times", "effective_parts", "effectiveness", "availability_ratio")
"""Figures of a station that follow from its line's states, too."""


def write_period(
    path: Path, *, plant: Plant, plant_dir: Path, kafka: KafkaSettings, period: Period
) -> tuple[Source, PeriodReport]:
    """Reads what a period left on the topics, and writes its sheet."""
    source = read_source(plant, kafka, period)
    report = report_of(plant, plant_dir, source, period)
    write_quality_html(path, plant=plant, report=report, source=source)
    return source, report


def report_of(plant: Plant, plant_dir: Path, source: Source, period: Period) -> PeriodReport:
    """The figures of what was read; defects are put on maps by the size of their view's reference picture."""
    sizes = {
        (recipe.key, view.name): _size(plant_dir, view.reference) for recipe in plant.recipes for view in recipe.views
    }
    return period_report(
        plant=plant,
        period=period,
        verdicts=source.verdicts,
        states=source.states,
        size=lambda recipe, view: sizes.get((recipe, view)),
        points=source.points,
        readings=source.readings,
    )


def plain(value: object) -> object:
    """The figures as JSON has them: every field by its name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(each) for name, each in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return msgspec.to_builtins(value)


def digest_of(report: PeriodReport) -> str:
    """sha256 of the figures: who makes the report anew from the same topics gets the same."""
    return hashlib.sha256(msgspec.json.encode(plain(report), order="deterministic")).hexdigest()


def verdicts_digest_of(report: PeriodReport) -> str:
    """sha256 of the figures that follow from verdicts alone, which are kept longest: line states, alerts and readings are gone before."""
    figures: dict[str, Any] = {name: plain(getattr(report, name)) for name in FROM_VERDICTS}
    stations = [plain(each) for each in report.stations]
    figures["stations"] = [
        {name: value for name, value in each.items() if name not in FROM_STATES}
        for each in stations
        if isinstance(each, dict)
    ]
    return hashlib.sha256(msgspec.json.encode(figures, order="deterministic")).hexdigest()


def plant_digest_of(plant: Plant) -> str:
    """sha256 of what the plant file says of lines, recipes, assets and statistics: figures depend on it beside the topics."""
    said = [plant.lines, plant.recipes, plant.assets, plant.statistics]
    return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()


def write_quality_html(path: Path, *, plant: Plant, report: PeriodReport, source: Source) -> None:
    """Renders the sheet and puts it in place in one step."""
    zone = ZoneInfo(plant.statistics.time_zone)

    def clock(at_ns: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
        return datetime.fromtimestamp(at_ns / NS_PER_S, UTC).astimezone(zone).strftime(form)

    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    ).get_template("quality.html.j2")
    chart = plant.statistics.p_chart
    text = template.render(
        plant=plant,
        report=report,
        source=source,
        chart=chart,
        false_alarm=_points_between_false_alarms(chart),
        clock=clock,
        ratio=_ratio,
        hours=lambda ns: f"{ns / NS_PER_HOUR:.2f} h",
        pareto=charts.pareto(report.pareto),
        drawn={
            each.station: charts.control_chart(each.points, lambda at_ns: clock(at_ns, "%H:%M:%S"))
            for each in report.stations
        },
        marked={each.station: [point for point in each.points if _is_marked(point)] for each in report.stations},
        charted=[
            (each, chart_drawing.drawn(each.points, lambda at_ns: clock(at_ns, "%H:%M:%S"))) for each in report.charts
        ],
        maps=[(each, charts.defect_map(each.cells, each.crowd)) for each in report.maps],
        digest=digest_of(report),
        verdicts_digest=verdicts_digest_of(report),
        plant_digest=plant_digest_of(plant),
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        software=version("linesight"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _is_marked(point: MarkedPoint) -> bool:
    return point.outside or bool(point.rules)


def _points_between_false_alarms(chart: PChart) -> str:
    """Of the limits and the run rules together, as points are marked; counts are wrong no more often than normal points."""
    rules = {RunRule.BEYOND_3_SIGMA, *(RunRule(name) for name in chart.run_rules)}
    if ORDER_RULES & rules:
        return "see docs/statistics.md"
    return f"{run_rule_length(rules, shift=0, width=float(norm.isf((1 - chart.confidence) / 2))):.1f}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _size(plant_dir: Path, reference: str | None) -> tuple[int, int] | None:
    """Width and height in px of a reference picture; None where there is none."""
    image = cv2.imread(str(plant_dir / reference), cv2.IMREAD_GRAYSCALE) if reference is not None else None
    return None if image is None else (image.shape[1], image.shape[0])
