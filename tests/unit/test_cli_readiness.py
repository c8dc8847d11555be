"""What `linesight up` tells of a stage that waits: what it waits for now, not what it once waited for."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.readiness import waits_for
from ops.local.children import Child

NOW = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)


def attempt(*, seconds_ago: float, detail: str) -> str:
    at = (NOW - timedelta(seconds=seconds_ago)).isoformat().replace("+00:00", "Z")
    return json.dumps({"event": "attempt_repeated", "service": "plc", "detail": detail, "timestamp": at})


def stage_that_said(tmp_path: Path, *lines: str) -> Child:
    (tmp_path / "judge.log").write_text("".join(f"{line}\n" for line in lines))
    return Child(name="judge", command=[sys.executable, "-c", ""], log_dir=tmp_path)


def test_the_newest_failed_attempt_is_told(tmp_path: Path) -> None:
    stage = stage_that_said(
        tmp_path, attempt(seconds_ago=9, detail="refused"), attempt(seconds_ago=2, detail="no answer")
    )
    assert waits_for(stage, now=NOW) == "waits for plc: no answer"


@pytest.mark.parametrize(
    "line",
    [attempt(seconds_ago=600, detail="refused"), '{"event": "attempt_repeated", "timestamp": 7}', "[]", "no JSON"],
)
def test_an_old_reason_is_no_reason(tmp_path: Path, line: str) -> None:
    assert waits_for(stage_that_said(tmp_path, line), now=NOW).startswith("it is starting, or has nothing assigned")
