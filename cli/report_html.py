"""`report.html`: one self-contained file that shows what a run did, for a person to believe or to doubt."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cli.charts import ChartPoint, histogram, p_chart, pareto
from processors.spc import exact_binomial_limits
from schemas.alerts import Alert, RetrainingTrigger
from schemas.object_store import ObjectMissing, ObjectStore
from schemas.plant import Plant
from schemas.reasons import VerdictValue
from schemas.verdicts import Verdict, ViewResult, picture_key

PARTS_SHOWN = 40
PICTURE_WIDTH_PX = 480
SUBGROUPS = 20
SMALLEST_SUBGROUP = 8

ReferenceOf = Callable[[Verdict, str], bytes | None]
"""The encoded reference image of a verdict's view, where one is known."""


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """What a report is made of. `truth` maps (part_id, visit) to its true defect classes, `()` for a good part;
    a part that is not in it has no known truth."""

    report: Mapping[str, Any]
    plant: Plant
    verdicts: Sequence[Verdict]
    truth: Mapping[tuple[str, int], tuple[str, ...]]
    alerts: Sequence[Alert]
    triggers: Sequence[RetrainingTrigger]
    latencies_ms: Sequence[float]
    store: ObjectStore
    reference_of: ReferenceOf
    load: str
    score: str | None = None


def write_report_html(path: Path, source: ReportInput) -> None:
    """Renders the report and puts it in place in one step."""
    verdicts = sorted(source.verdicts, key=lambda verdict: verdict.arrived_at_ns)
    rejected = [verdict for verdict in verdicts if verdict.verdict is not VerdictValue.OK]
    subgroup, points = control_points(verdicts, source.plant)
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    ).get_template("report.html.j2")
    references: dict[bytes, str] = {}
    text = template.render(
        report=source.report,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        load=source.load,
        score=source.score,
        truth=_confusion(verdicts, source.truth),
        pareto=pareto(list(source.report["defects"]["by_class"].items())),
        p_chart=p_chart(points, source.plant.statistics.p_chart.baseline_ratio),
        histogram=histogram(source.latencies_ms),
        subgroup=subgroup,
        alerts=[_alert_row(alert) for alert in source.alerts],
        triggers=[_trigger_row(trigger) for trigger in source.triggers],
        rejected=len(rejected),
        parts=[_part(verdict, source, references) for verdict in _spread(rejected, PARTS_SHOWN)],
        references=references,
    )
    temporary = path.with_suffix(".partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def control_points(verdicts: Sequence[Verdict], plant: Plant) -> tuple[int, list[ChartPoint]]:
    """Size of the subgroups (consecutive decided parts) and the p-chart's points."""
    decided = [verdict for verdict in verdicts if verdict.verdict is not VerdictValue.NOT_DECIDABLE]
    size = max(SMALLEST_SUBGROUP, len(decided) // SUBGROUPS)
    chart = plant.statistics.p_chart
    points = []
    for start in range(0, len(decided) - size + 1, size):
        group = decided[start : start + size]
        bad = sum(verdict.verdict is VerdictValue.NOT_OK for verdict in group)
        lower, upper = exact_binomial_limits(sample_size=size, centre=chart.baseline_ratio, confidence=chart.confidence)
        points.append(ChartPoint(name=f"{start + 1}", value=bad / size, lower=lower, upper=upper))
    return size, points


def _confusion(
    verdicts: Sequence[Verdict], truth: Mapping[tuple[str, int], tuple[str, ...]]
) -> list[tuple[str, list[int]]]:
    known = [verdict for verdict in verdicts if (verdict.part_id, verdict.visit) in truth]
    if not known:
        return []
    rows = []
    for name, bad in (("good", False), ("bad", True)):
        group = [verdict for verdict in known if bool(truth[verdict.part_id, verdict.visit]) is bad]
        rows.append((name, [sum(verdict.verdict is value for verdict in group) for value in VerdictValue]))
    return rows


def _spread(items: Sequence[Verdict], count: int) -> list[Verdict]:
    """At most `count` items, evenly spread over all, so that the pictures show the whole run."""
    if len(items) <= count:
        return list(items)
    return [items[int(index * len(items) / count)] for index in range(count)]


def _part(verdict: Verdict, source: ReportInput, references: dict[bytes, str]) -> dict[str, Any]:
    views = [view for view in verdict.views if view.defects] or list(verdict.views)
    truth = source.truth.get((verdict.part_id, verdict.visit))
    return {
        "part_id": verdict.part_id,
        "verdict": verdict.verdict.value,
        "reasons": ", ".join(reason.value for reason in verdict.reasons) or "no reason",
        "recipe": verdict.recipe,
        "batch": verdict.batch,
        "truth": None if truth is None else ", ".join(truth) or "good",
        "views": [shown for view in views if (shown := _view(verdict, view, source, references)) is not None],
    }


def _view(
    verdict: Verdict, view: ViewResult, source: ReportInput, references: dict[bytes, str]
) -> dict[str, Any] | None:
    if not view.image_sha256:
        return None
    try:
        captured = source.store.get(picture_key(view.image_sha256))
    except ObjectMissing:
        return None
    shrunk = _shrink(captured)
    if shrunk is None:
        return None
    picture, width_px, height_px = shrunk
    reference = source.reference_of(verdict, view.view)
    reference_class = None
    if reference is not None:
        if reference not in references and (small := _shrink(reference)) is not None:
            references[reference] = small[0]
        reference_class = list(references).index(reference) if reference in references else None
    return {
        "view": view.view,
        "image": picture,
        "width_px": width_px,
        "height_px": height_px,
        "reference": reference_class,
        "defects": [{"name": defect.class_name, "score": defect.score, "box": defect.box} for defect in view.defects],
    }


def _shrink(encoded: bytes) -> tuple[str, int, int] | None:
    """A JPEG data URI at most `PICTURE_WIDTH_PX` wide, with the original's width and height in px."""
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return None
    height_px, width_px = image.shape[:2]
    if width_px > PICTURE_WIDTH_PX:
        size = (PICTURE_WIDTH_PX, round(height_px * PICTURE_WIDTH_PX / width_px))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode(), width_px, height_px


def _alert_row(alert: Alert) -> dict[str, str]:
    return {
        "at": _clock(alert.at_ns),
        "rule": alert.rule,
        "subject": alert.subject,
        "state": alert.state.value,
        "summary": alert.summary,
    }


def _trigger_row(trigger: RetrainingTrigger) -> dict[str, str]:
    evidence = "; ".join(
        f"{item.statistic} {item.observed:.3g} (baseline {item.baseline:.3g}, threshold {item.threshold:.3g}, n {item.sample_size})"
        for item in trigger.evidence
    )
    return {"at": _clock(trigger.fired_at_ns), "model": trigger.model, "cause": trigger.cause, "evidence": evidence}


def _clock(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%H:%M:%S")
