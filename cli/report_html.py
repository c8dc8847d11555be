"""`report.html`: one self-contained file that shows what a run did, for a person to believe or to doubt."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cli import charts
from cli.learning_section import learning_section
from cli.run_record import Kept, Outcome
from processors.quality.pane_figures import control_point
from processors.quality.pareto import pareto
from schemas.alerts import Alert, RetrainingTrigger
from schemas.object_store import ObjectMissing, ObjectStore
from schemas.plant import Plant
from schemas.reasons import VerdictValue
from schemas.statistics import ControlPoint, PaneCounts
from schemas.verdicts import Verdict, ViewResult, picture_key

PARTS_SHOWN = 40
PICTURE_WIDTH_PX = 480
SUBGROUPS = 20
SMALLEST_SUBGROUP = 8


def write_report_html(path: Path, outcome: Outcome, store: ObjectStore) -> None:
    """Renders the report and puts it in place in one step."""
    subgroup, points = control_points(outcome.kept, outcome.plant)
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    ).get_template("report.html.j2")
    pictures = _Pictures(outcome=outcome, store=store)
    parts = [_part(verdict, outcome, pictures) for verdict in _spread(outcome.kept.rejected, PARTS_SHOWN)]
    text = template.render(
        report=outcome.report,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        truth=_confusion(outcome),
        pareto=charts.pareto(pareto(outcome.report["defects"]["by_class"])),
        p_chart=charts.p_chart(points, outcome.plant.statistics.p_chart.baseline_ratio),
        histogram=charts.histogram(outcome.latencies_ms),
        subgroup=subgroup,
        alerts=[_alert_row(alert) for alert in outcome.kept.alerts],
        triggers=[_trigger_row(trigger) for trigger in outcome.kept.triggers],
        rejected=outcome.kept.rejected_count,
        parts=parts,
        references=pictures.references,
        learning=learning_section(outcome.report),
    )
    temporary = path.with_suffix(".partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def control_points(kept: Kept, plant: Plant) -> tuple[int, list[tuple[str, ControlPoint]]]:
    """Size of the subgroups (consecutive decided parts, by arrival) and the p-chart's points, each named by its first part."""
    in_order = [bad for _, bad in sorted(zip(kept.arrived_at_ns, kept.not_ok, strict=True))]
    size = max(SMALLEST_SUBGROUP, len(in_order) // SUBGROUPS)
    points = []
    for start in range(0, len(in_order) - size + 1, size):
        bad = sum(in_order[start : start + size])
        point = control_point(PaneCounts(ok=size - bad, not_ok=bad), plant.statistics.p_chart)
        if point is not None:
            points.append((str(start + 1), point))
    return size, points


def _confusion(outcome: Outcome) -> list[tuple[str, list[int]]]:
    counts = outcome.kept.confusion
    if not counts:
        return []
    return [
        (name, [counts.get((bad, value), 0) for value in VerdictValue])
        for name, bad in (("good", False), ("bad", True))
    ]


def _spread(items: Sequence[Verdict], count: int) -> list[Verdict]:
    """At most `count` items, evenly spread over all, so that the pictures show the whole run."""
    if len(items) <= count:
        return list(items)
    return [items[int(index * len(items) / count)] for index in range(count)]


class _Pictures:
    """Pictures as data URIs. A reference is embedded once, however often it is shown."""

    def __init__(self, *, outcome: Outcome, store: ObjectStore) -> None:
        self._outcome = outcome
        self._store = store
        self._numbers: dict[bytes, int] = {}
        self.references: list[str] = []

    def captured(self, image_sha256: str) -> _Picture | None:
        """The kept picture; None where none was kept or it cannot be shown."""
        try:
            return _shrink(self._store.get(picture_key(image_sha256)))
        except ObjectMissing:
            return None

    def reference(self, verdict: Verdict, view: ViewResult) -> int | None:
        """Number of the view's reference in `references`; None where it is not known."""
        content = self._outcome.reference(verdict, view)
        if content is None:
            return None
        key = hashlib.sha256(content).digest()
        if key not in self._numbers:
            small = _shrink(content)
            if small is None:
                return None
            self._numbers[key] = len(self.references)
            self.references.append(small.uri)
        return self._numbers[key]


def _part(verdict: Verdict, outcome: Outcome, pictures: _Pictures) -> dict[str, Any]:
    views = [view for view in verdict.views if view.defects] or list(verdict.views)
    truth = outcome.truth.get((verdict.part_id, verdict.visit))
    return {
        "part_id": verdict.part_id,
        "verdict": verdict.verdict.value,
        "reasons": ", ".join(reason.value for reason in verdict.reasons) or "no reason",
        "recipe": verdict.recipe,
        "batch": verdict.batch,
        "truth": None if truth is None else ", ".join(truth) or "good",
        "views": [shown for view in views if (shown := _view(verdict, view, pictures)) is not None],
    }


def _view(verdict: Verdict, view: ViewResult, pictures: _Pictures) -> dict[str, Any] | None:
    picture = pictures.captured(view.image_sha256) if view.image_sha256 else None
    if picture is None:
        return None
    return {
        "view": view.view,
        "image": picture.uri,
        "width_px": picture.width_px,
        "height_px": picture.height_px,
        "reference": pictures.reference(verdict, view),
        "defects": [{"name": defect.class_name, "score": defect.score, "box": defect.box} for defect in view.defects],
    }


class _Picture(NamedTuple):
    """A picture made small for the report; width and height in px are the original's."""

    uri: str
    width_px: int
    height_px: int


def _shrink(encoded: bytes) -> _Picture | None:
    """A JPEG data URI at most `PICTURE_WIDTH_PX` wide; None for what cannot be decoded."""
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if encoded else None
    if image is None:
        return None
    height_px, width_px = image.shape[:2]
    if width_px > PICTURE_WIDTH_PX:
        size = (PICTURE_WIDTH_PX, round(height_px * PICTURE_WIDTH_PX / width_px))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return _Picture("data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode(), width_px, height_px)


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
