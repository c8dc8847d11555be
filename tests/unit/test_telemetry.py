"""What an SRE sees of a stage: one event is one log line and one count, and three endpoints answer."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from schemas import telemetry
from schemas.errors import ConfigurationError
from schemas.reasons import DropReason, RefusalReason
from schemas.telemetry import AttemptRepeated, DroppedByRule, Event, HealthServer, Noticed, RecordRefused, Stage

EVENTS: list[tuple[Event, str, dict[str, str]]] = [
    (
        RecordRefused(reason=RefusalReason.TRUNCATED, detail="cut", topic="frames", partition=0, offset=0),
        "linesight_judge_dropped_total",
        {"reason": "truncated"},
    ),
    (
        DroppedByRule(reason=DropReason.SPOOL_FULL, subject="left"),
        "linesight_judge_dropped_total",
        {"reason": "spool_full"},
    ),
    (
        AttemptRepeated(service="broker", detail="away", attempt=3),
        "linesight_judge_retried_total",
        {"reason": "broker"},
    ),
    (Noticed(what="duplicate", subject="left/7f3a/41"), "linesight_judge_noticed_total", {"what": "duplicate"}),
]


@pytest.fixture
def stage() -> Stage:
    return Stage("judge")


@pytest.fixture
def health(stage: Stage) -> Iterator[HealthServer]:
    server = HealthServer(stage)
    yield server
    server.close()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize(("event", "metric", "labels"), EVENTS, ids=lambda value: getattr(value, "name", None))
def test_an_event_is_one_log_line_and_one_count_with_its_reason(
    event: Event, metric: str, labels: dict[str, str]
) -> None:
    with structlog.testing.capture_logs() as lines:
        stage = Stage("judge")
        stage.emit(event)
    assert stage.registry.get_sample_value(metric, labels) == 1
    assert len(lines) == 1
    assert (lines[0]["event"], lines[0]["log_level"]) == (event.name, event.level)
    assert labels.items() <= {**lines[0], "reason": lines[0].get("reason", lines[0].get("service"))}.items()


def test_every_kind_of_event_is_covered_here() -> None:
    assert {type(event) for event, _, _ in EVENTS} >= set(Event.__subclasses__())


def test_what_is_dropped_on_purpose_is_no_warning() -> None:
    assert DroppedByRule.level == Noticed.level == "info"
    assert RecordRefused.level == AttemptRepeated.level == "warning"


def test_a_record_counts_as_in_progress_until_it_is_finished(stage: Stage) -> None:
    def value(name: str, **labels: str) -> float | None:
        return stage.registry.get_sample_value(f"linesight_judge_{name}", labels)

    stage.taken("frames", at_ms=0)
    assert (value("in_total", topic="frames"), value("in_progress")) == (1, 1)
    assert (value("lag_seconds") or 0) > 1_000_000
    stage.finished(seconds=0.004)
    assert (value("in_progress"), value("duration_seconds_count")) == (0, 1)
    assert (value("duration_seconds_bucket", le="0.0025"), value("duration_seconds_bucket", le="0.005")) == (0, 1)
    assert (value("last_processed_timestamp_seconds") or 0) > 1_000_000_000


def test_a_broker_clock_ahead_of_ours_is_no_negative_lag(stage: Stage) -> None:
    stage.taken("frames", at_ms=10**15)
    assert stage.registry.get_sample_value("linesight_judge_lag_seconds") == 0


def test_a_stage_that_does_not_exist_has_no_instruments() -> None:
    with pytest.raises(ValueError, match="one of station_gateway, plc_gateway"):
        Stage("judgement")


def test_alive_is_not_ready(stage: Stage, health: HealthServer) -> None:
    assert get(health, "/healthz") == (200, "alive\n")
    assert get(health, "/readyz") == (503, "not ready\n")
    stage.ready = True
    assert get(health, "/readyz") == (200, "ready\n")
    assert "linesight_judge_ready 1.0" in get(health, "/metrics")[1]
    stage.ready = False
    assert get(health, "/readyz")[0] == 503
    assert "linesight_judge_ready 0.0" in get(health, "/metrics")[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_cannot_be_had_is_told_with_what_to_set(stage: Stage, health: HealthServer, host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{host}:{health.port}.*LINESIGHT_METRICS_PORT"):
        HealthServer(stage, port=health.port, host=host)


def test_metrics_are_what_prometheus_reads(stage: Stage, health: HealthServer) -> None:
    stage.taken("frames", at_ms=0)
    status, text = get(health, "/metrics?name[]=x")
    assert status == 200
    assert 'linesight_judge_in_total{topic="frames"} 1.0' in text
    assert "process_resident_memory_bytes" in text


def test_another_address_says_what_there_is(health: HealthServer) -> None:
    assert get(health, "/") == (404, "try /metrics, /healthz or /readyz\n")


def test_a_client_that_says_nothing_blocks_no_other(health: HealthServer) -> None:
    with socket.create_connection(("127.0.0.1", health.port)):
        assert get(health, "/healthz")[0] == 200


def test_a_silent_client_is_let_go(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "REQUEST_TIMEOUT_S", 0.05)
    server = HealthServer(stage)
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as silent:
            assert silent.recv(1) == b""
    finally:
        server.close()


def test_a_client_that_hangs_up_leaves_no_traceback(health: HealthServer, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", health.port)) as hasty:
            hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            hasty.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    assert get(health, "/healthz")[0] == 200
    for thread in [t for t in threading.enumerate() if "process_request" in t.name]:
        thread.join(timeout=5)
    assert "Traceback" not in capfd.readouterr().err


def test_every_log_line_is_one_json_object_those_of_libraries_included() -> None:
    program = """
import logging
from schemas.reasons import RefusalReason
from schemas.telemetry import RecordRefused, Stage, log_as_json
log_as_json()
stage = Stage("inspect")
stage.emit(RecordRefused(reason=RefusalReason.TRUNCATED, detail="cut", topic="frames", partition=1, offset=0))
logging.getLogger("some.library").warning("disk %s", "full")
logging.getLogger("aiokafka").info("not worth a line")
try:
    1 / 0
except ZeroDivisionError:
    stage.log.exception("broken", part=b"x")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True, cwd=telemetry_root()
    )
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["record_refused", "disk full", "broken"]
    assert lines[0].items() >= {"stage": "inspect", "level": "warning", "reason": "truncated", "offset": 0}.items()
    assert lines[1]["logger"] == "some.library"
    assert "ZeroDivisionError" in lines[2]["exception"]
    assert all("timestamp" in line for line in lines)
    assert done.stdout == ""


def test_the_log_level_is_obeyed() -> None:
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    try:
        telemetry.log_as_json("ERROR")
        assert not logging.getLogger("x").isEnabledFor(logging.WARNING)
    finally:
        root.handlers[:], _ = handlers, root.setLevel(level)
        structlog.reset_defaults()


def telemetry_root() -> str:
    return telemetry.__file__.removesuffix("schemas/telemetry.py")
