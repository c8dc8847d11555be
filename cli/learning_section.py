"""The section of `report.html` about a run in which a model learned."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cli.learning_chart import learning_chart


def learning_section(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the template shows of the report's `learning`; None of a run in which nothing was to be learned."""
    learning = report.get("learning")
    if learning is None:
        return None
    rows = _rows(learning)
    moments = [(row["after_part"], str(row["mark"]), f"{row['what']}, after part {row['after_part']}") for row in rows]
    return {
        "model": learning["model"],
        "fell_short": learning["fell_short"],
        "taken_s": learning["trigger_to_promoted_s"],
        "stretches": learning["stretches"],
        "phases": learning["phases"],
        "chart": learning_chart(learning["points"], moments),
        "steps": rows,
    }


def _rows(learning: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The failing lamp, the request and every step, in the order in which they happened, numbered as in the chart."""
    rows = []
    if learning["lamp_failed_at_part"] is not None:
        rows.append(
            _row(learning["lamp_failed_at_part"], what="the lamp begins to fail", at_ns=learning["lamp_failed_at_ns"])
        )
    if (asked := learning["trigger"]) is not None:
        rows.append(
            _row(asked["after_part"], what=f"training is asked for: {asked['cause']}", at_ns=asked["at_ns"], since_s=0.0,
                 by="retraining", why=_evidence(asked["evidence"]))
        )  # fmt: skip
    for step in learning["steps"]:
        version = f" version {step['version']}" if step["version"] else ""
        rows.append(
            _row(step["after_part"], what=f"{step['change'].replace('_', ' ')}{version}", at_ns=step["at_ns"],
                 since_s=step["since_trigger_s"], by=step["by"], why=step["detail"], gates=step["gates"])
        )  # fmt: skip
    in_order = sorted(rows, key=lambda row: row["at_ns"])
    return [{"mark": number, **row} for number, row in enumerate(in_order, start=1)]


def _row(after_part: int, *, what: str, at_ns: int, since_s: float | None = None, **told: Any) -> dict[str, Any]:
    return {
        "at_ns": at_ns,
        "at": datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%H:%M:%S"),
        "after_part": after_part,
        "what": what,
        "since": "" if since_s is None else f"{since_s:.0f}",
        "by": "",
        "why": "",
        "gates": [],
        **told,
    }


def _evidence(evidence: list[dict[str, Any]]) -> str:
    return "; ".join(
        f"{each['statistic']} {each['observed']:.3g}, threshold {each['threshold']:.3g}, n {each['sample_size']}"
        for each in evidence
    )
