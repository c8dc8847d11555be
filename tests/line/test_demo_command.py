"""What a person relies on who types `linesight demo`: a report that adds up, pictures, and nothing left behind."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from typing import Any

import pytest
from linesight import Linesight
from prometheus_client.parser import text_string_to_metric_families

from schemas.telemetry import STAGES

pytestmark = pytest.mark.timeout(420)

PARTS = 60
EVERY_STAGE_EMITS = (
    "in_total", "out_total", "dropped_total", "retried_total", "in_progress", "duration_seconds_count", "lag_seconds",
    "last_processed_timestamp_seconds", "ready",
)  # fmt: skip
# a stage that takes nothing from Kafka, or gives nothing to it, has no series of that kind
TAKES_NOTHING = {"station_gateway", "sensor_gateway"}
WITHOUT_OUTPUT_HERE = {"alerts", "retraining", "sensors", "record"}
NOT_NEEDED_HERE = {"backfill", "trainer"}  # no recipe of the demo plant defers frames, and it has no section `learning`


def test_demo_adds_up(linesight: Linesight) -> None:
    process = linesight.start("demo", "--parts", str(PARTS), "--seed", "5")
    scraped = _scrape_while_running(linesight, lambda: process.poll() is None)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-4000:]
    assert linesight.left_behind() == []
    report = json.loads((linesight.run_dir / "report.json").read_text())
    _check_contract(report)
    assert report["ledger"] == {"balanced": True, "differences": []}
    assert report["parts"]["arrived"] == report["parts"]["verdicts"] >= PARTS
    assert report["frames"]["published"] == 3 * report["parts"]["arrived"]
    assert report["truth"]["escapes"] == 0
    assert report["truth"]["bad"] > 0
    assert report["challenges"] == {"passed": 1, "failed": 0}, "the known-bad board of the demo was found"
    assert report["commands"]["sent"] >= report["parts"]["verdicts"] - report["parts"]["not_decidable"]
    _check_html((linesight.run_dir / "report.html").read_text())
    _check_every_stage_shows(scraped)


def test_ctrl_c_drains_and_leaves_nothing(linesight: Linesight) -> None:
    process = linesight.start("demo", "--parts", "400")
    _await(lambda: _targets(linesight) is not None and bool(_targets(linesight)), within_s=120)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert linesight.left_behind() == []


def test_a_killed_demo_leaves_nothing(linesight: Linesight) -> None:
    process = linesight.start("demo", "--parts", "400")
    _await(lambda: bool(_targets(linesight)), within_s=120)
    process.kill()
    process.communicate(timeout=60)
    _await(lambda: linesight.left_behind() == [], within_s=60)


def _scrape_while_running(linesight: Linesight, runs: Any) -> dict[str, str]:
    """The last text that each stage's /metrics gave."""
    texts: dict[str, str] = {}
    while runs():
        for stage, address in _targets(linesight).items():
            try:
                with urllib.request.urlopen(f"http://{address}/metrics", timeout=2) as answer:
                    texts[stage] = answer.read().decode()
            except OSError:
                continue  # not up yet, or stopping
        time.sleep(1.0)  # the pace of a scraper, not a wait for something
    return texts


def _targets(linesight: Linesight) -> dict[str, str]:
    file = linesight.run_dir / "demo" / "prometheus" / "targets.json"
    if not file.exists():
        return {}
    return {entry["labels"]["stage"]: entry["targets"][0] for entry in json.loads(file.read_text())}


def _check_every_stage_shows(texts: dict[str, str]) -> None:
    for stage in set(STAGES) - NOT_NEEDED_HERE:
        text = texts[stage.replace("_", "-")]
        values = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        names = {name for name, _ in values}
        for what in EVERY_STAGE_EMITS:
            name = f"linesight_{stage}_{what}"
            if (what == "in_total" and stage in TAKES_NOTHING) or (
                what == "out_total" and stage in WITHOUT_OUTPUT_HERE
            ):
                continue
            assert name in names, f"{stage} does not emit {name}"
        assert sum(v for (name, _), v in values.items() if name == f"linesight_{stage}_duration_seconds_count") > 0, (
            stage
        )


def _check_contract(report: dict[str, Any]) -> None:
    """The keys of the contract in design.md; more may be added, none may be missing."""
    assert {
        "plant", "duration_s", "parts", "truth", "frames", "ledger", "latency_ms", "commands", "defects", "alerts",
        "retraining_triggers", "dead_letters", "versions",
    } <= report.keys()  # fmt: skip
    assert report["parts"].keys() >= {"arrived", "verdicts", "ok", "not_ok", "not_decidable"}
    assert report["truth"].keys() >= {"good", "bad", "escapes", "overkill"}
    for name in ("capture_to_inspection", "trigger_to_verdict", "trigger_to_plc_ack"):
        assert report["latency_ms"][name].keys() == {"p50", "p95", "p99", "max"}
    assert report["versions"].keys() >= {"linesight", "kafka", "triton", "models"}
    for model in report["versions"]["models"].values():
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", model["digest"])


def _check_html(text: str) -> None:
    assert "p-chart" in text
    assert "data:image/jpeg;base64," in text
    assert not re.findall(r"""(?:src|href)=["']https?://""", text)  # self-contained


def _await(condition: Any, *, within_s: float) -> None:
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not so within {within_s:g} s"
        time.sleep(0.1)  # between two looks at a condition
