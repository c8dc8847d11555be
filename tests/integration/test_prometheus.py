"""A real Prometheus with the shipped configuration, rules and dashboards against the endpoints of real stages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.local.ports import free_ports
from schemas.reasons import RefusalReason
from schemas.telemetry import HealthServer, RecordRefused, Stage

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0


class Prometheus:
    """The HTTP API of a running server."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer."""
        address = f"{self._url}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            found = json.load(answer)
        assert found["status"] == "success"
        return found["data"]

    def value(self, query: str) -> float | None:
        """The single value of an instant query, None where it has none."""
        result = self.get("/api/v1/query", query=query)["result"]
        return float(result[0]["value"][1]) if result else None

    def alerts(self) -> dict[str, str]:
        """State of every alert that is pending or firing."""
        return {alert["labels"]["alertname"]: alert["state"] for alert in self.get("/api/v1/alerts")["alerts"]}

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Returns when `condition` holds."""
        give_up_at = time.monotonic() + WAIT_S
        while time.monotonic() < give_up_at:
            try:
                if condition():
                    return
            except OSError:
                pass  # it is still starting
            time.sleep(0.1)
        raise AssertionError(f"not within {WAIT_S:g} s: {what}")


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage("judge")


@pytest.fixture(scope="module")
def health(stage: Stage) -> Iterator[HealthServer]:
    server = HealthServer(stage)
    yield server
    server.close()


@pytest.fixture(scope="module")
def prometheus(health: HealthServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        reason = "prometheus is not installed (Debian package `prometheus`)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copytree(ROOT / "ops/prometheus", folder / "ops/prometheus")
    for file in (folder / "ops/prometheus").rglob("*.yml"):
        quick = file.read_text().replace("interval: 15s", "interval: 1s").replace("interval: 5s", "interval: 1s")
        file.write_text(quick)
    targets = [{"targets": [f"127.0.0.1:{health.port}"], "labels": {"stage": "judge", "plant": "demo"}}]
    (folder / "run/prometheus").mkdir(parents=True)
    (folder / "run/prometheus/targets.json").write_text(json.dumps(targets))
    (port,) = free_ports(1)
    command = [
        program,
        f"--config.file={folder}/ops/prometheus/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        try:
            yield Prometheus(port)
        finally:
            process.terminate()
            process.wait(timeout=20)


def test_it_scrapes_a_stage_and_records_it_under_one_name(prometheus: Prometheus, stage: Stage) -> None:
    prometheus.until(
        lambda: prometheus.value('stage:linesight_ready:min{stage="judge"}') == 0, "a stage not ready is seen"
    )
    stage.ready = True
    prometheus.until(lambda: prometheus.value('stage:linesight_ready:min{stage="judge"}') == 1, "a ready stage is seen")


def test_a_refused_record_becomes_an_alert(prometheus: Prometheus, stage: Stage) -> None:
    prometheus.until(lambda: prometheus.value("up") == 1, "the stage is scraped")
    stage.emit(RecordRefused(reason=RefusalReason.TRUNCATED, detail="cut", topic="frames", partition=0, offset=1))
    prometheus.until(lambda: prometheus.alerts().get("LinesightDeadLetters") == "firing", "the alert fires")


@pytest.mark.parametrize("name", ["line", "pipeline"])
def test_every_query_of_a_dashboard_is_answered(prometheus: Prometheus, name: str) -> None:
    prometheus.until(lambda: prometheus.value("up") is not None, "Prometheus answers")
    dashboard = json.loads((ROOT / f"ops/grafana/dashboards/{name}.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            prometheus.get("/api/v1/query", query=target["expr"].replace("$plant", "demo"))


def test_a_stage_that_went_away_becomes_an_alert(prometheus: Prometheus, health: HealthServer) -> None:
    prometheus.until(lambda: prometheus.value("up") == 1, "the stage is scraped")
    health.close()
    prometheus.until(lambda: "LinesightStageDown" in prometheus.alerts(), "the alert waits its 30 s")
