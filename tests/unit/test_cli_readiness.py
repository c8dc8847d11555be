"""What `linesight up` tells of a stage that waits: what it waits for now, not what it once waited for."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.readiness import TELL_EVERY_S, Readiness, waits_for
from ops.local.children import Child
from ops.local.ports import free_ports

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


def test_stages_that_only_start_are_one_line_and_one_that_waits_has_its_own(tmp_path: Path) -> None:
    children = {}
    for name in ("judge", "inspect", "plc-gateway"):
        (tmp_path / f"{name}.log").touch()
        children[name] = Child(name=name, command=[sys.executable, "-c", ""], log_dir=tmp_path)
    at = datetime.now(UTC).isoformat()
    (tmp_path / "plc-gateway.log").write_text(
        json.dumps({"event": "attempt_repeated", "service": "plc", "detail": "refused", "timestamp": at}) + "\n"
    )
    told: list[str] = []
    ports = dict(zip(children, free_ports(3), strict=True))
    Readiness(health=ports, children=children, say=told.append).look(time.monotonic() + TELL_EVERY_S)
    assert told == [
        "plc-gateway is not ready: waits for plc: refused",
        f"not ready yet: inspect, judge: starting, or nothing assigned (logs: {tmp_path})",
    ]
