"""A finished run on disk: `report.json`, and `report.html` beside it."""

from __future__ import annotations

import json
from pathlib import Path

from cli.report_html import write_report_html
from cli.run_record import Outcome
from schemas.object_store import open_store
from schemas.settings import ObjectStoreSettings


def write_reports(file: Path, outcome: Outcome) -> None:
    """Writes `file` (JSON) and the HTML beside it, each in one step."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(outcome.report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(file)
    write_report_html(file.with_suffix(".html"), outcome, open_store(ObjectStoreSettings()))
