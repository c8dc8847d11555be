"""The rules that watch the line: valid, tested both ways by the real promtool, and asking only for what is emitted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ops_metrics import PROMETHEUS, ROOT, Promtool, complaints, labels_of, matched, rules
from promql import label_values_of, selectors

from schemas.reasons import DropReason, RefusalReason
from schemas.telemetry import SERVICES, STAGES

ALERTS = rules("alerts.yml")
NAMES = [alert["alert"] for alert in ALERTS]
EXPRESSIONS = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in [*rules("recording.yml"), *ALERTS]]


def test_the_configuration_is_valid(promtool: Promtool) -> None:
    promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))


def test_the_rules_are_valid(promtool: Promtool) -> None:
    promtool("check", "rules", *map(str, sorted((PROMETHEUS / "rules").glob("*.yml"))))


def test_every_alert_fires_and_does_not_fire_as_written(promtool: Promtool) -> None:
    promtool("test", "rules", *map(str, sorted((PROMETHEUS / "tests").glob("*.yml"))))


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_is_tested_both_ways(name: str) -> None:
    tested: list[bool] = []
    for path in (PROMETHEUS / "tests").glob("*.yml"):
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            tested += [bool(rule["exp_alerts"]) for rule in test["alert_rule_test"] if rule["alertname"] == name]
    assert True in tested, f"no test in ops/prometheus/tests makes {name} fire"
    assert False in tested, f"no test in ops/prometheus/tests keeps {name} from firing"


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_an_alert_says_what_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert {"summary", "description", "runbook"} <= set(alert["annotations"])
    told = set(re.findall(r"\$labels\.(\w+)", " ".join(alert["annotations"].values())))
    assert told <= labels_of(alert["expr"]), "what it says would have a gap"
    runbook = ROOT / alert["annotations"]["runbook"]
    assert runbook.name == f"{alert['alert']}.md"
    text = runbook.read_text(encoding="utf-8")
    assert text.startswith(f"# {alert['alert']}\n")
    for heading in ("## What it means", "## What the operator does", "## What the engineer reads"):
        assert heading in text


def test_no_runbook_is_left_over() -> None:
    runbooks = {path.stem for path in (ROOT / "ops" / "runbooks").glob("*.md")} - {"README"}
    assert runbooks == set(NAMES)


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_a_rule_asks_only_for_what_is_emitted(name: str, expression: str) -> None:
    assert not complaints(expression)


def test_an_invented_metric_would_be_noticed() -> None:
    assert complaints("linesight_judge_verdict_total") == ["no stage emits linesight_judge_verdict_total"]
    assert complaints('linesight_judge_in_total{part_id="1"}') == ["linesight_judge_in_total has no label part_id"]
    assert complaints("sum by (camera) (linesight_judge_in_total)") == ["grouped by camera, which nothing here has"]


@pytest.mark.parametrize("rule", rules("recording.yml"), ids=lambda rule: rule["record"])
def test_what_is_recorded_of_every_stage_reads_every_stage(rule: dict[str, Any]) -> None:
    for selector in selectors(rule["expr"]):
        if selector.is_pattern:
            read = {re.sub(r"^linesight_|_$", "", name) for name in matched(selector)}
            assert {stage for stage in STAGES if any(name.startswith(stage) for name in read)} == set(STAGES)
            assert len(read) == len(STAGES)


def test_reasons_in_the_rules_are_all_that_there_are() -> None:
    by_name = {alert["alert"]: alert["expr"] for alert in ALERTS}
    assert label_values_of(by_name["LinesightDeadLetters"], "reason") == {reason.value for reason in RefusalReason}
    assert label_values_of(by_name["LinesightFramesDropped"], "reason") == {reason.value for reason in DropReason}
    services = {
        value for alert in ALERTS if "retried" in alert["expr"] for value in label_values_of(alert["expr"], "reason")
    }
    assert services == set(SERVICES)


def test_the_scrape_targets_are_where_the_local_line_writes_them() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    (pattern,) = job["file_sd_configs"][0]["files"]
    assert (PROMETHEUS / pattern).resolve() == Path(ROOT / "run/prometheus/targets.json")
