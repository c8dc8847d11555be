"""The two dashboards: every query asks for what is emitted, every panel says what it shows, and Grafana finds both."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from ops_metrics import Promtool, complaints, labels_of, matched
from promql import selectors
from stage_metrics import emitted

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "ops" / "grafana"
DASHBOARDS = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
]


def test_there_is_one_for_the_line_and_one_for_the_pipeline() -> None:
    assert {name: dashboard["uid"] for name, dashboard in DASHBOARDS.items()} == {
        "line": "linesight-line",
        "pipeline": "linesight-pipeline",
    }


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_only_for_what_is_emitted(panel: dict[str, Any]) -> None:
    for target in panel.get("targets", []):
        assert not complaints(target["expr"])
        assert "$plant" in target["expr"], "a panel shows the chosen plant only"
        legend = set(re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"]))
        assert legend <= labels_of(target["expr"]), "a legend would stay empty"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_is_valid_promql(name: str, promtool: Promtool, tmp_path: Path) -> None:
    targets = [target for panel in DASHBOARDS[name]["panels"] for target in panel.get("targets", [])]
    rules = [{"record": f"query:{n}", "expr": target["expr"]} for n, target in enumerate(targets)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": name, "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", str(file))


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["datasource"]["uid"] == "${datasource}"
    if panel["type"] != "alertlist":
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_panel_lies_on_another(name: str) -> None:
    places = [panel["gridPos"] for panel in DASHBOARDS[name]["panels"]]
    for a, b in combinations(places, 2):
        apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart_x or apart_y
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert len({panel["id"] for panel in DASHBOARDS[name]["panels"]}) == len(places)


def test_whatever_every_stage_shows_stands_on_a_dashboard_or_in_a_rule() -> None:
    rule_files = [yaml.safe_load(path.read_text()) for path in (ROOT / "ops/prometheus/rules").glob("*.yml")]
    expressions = [rule["expr"] for rules in rule_files for group in rules["groups"] for rule in group["rules"]]
    expressions += [t["expr"] for d in DASHBOARDS.values() for p in d["panels"] for t in p.get("targets", [])]
    read = {name for expression in expressions for selector in selectors(expression) for name in matched(selector)}
    common = {name for name in emitted() if name.startswith("linesight_judge_")} & {
        name.replace("_record_", "_judge_") for name in emitted() if name.startswith("linesight_record_")
    }
    assert not {name for name in common - read if not name.endswith(("_created", "_sum", "_count"))}


def test_grafana_finds_the_dashboards_and_their_data() -> None:
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/linesight.yaml").read_text())["providers"][0]
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
    mounts = {mount.split(":")[1]: mount.split(":")[0] for mount in compose["services"]["grafana"]["volumes"]}
    assert mounts[provider["options"]["path"]] == "../ops/grafana/dashboards"
    assert source["url"] == "http://prometheus:9090"
    for dashboard in DASHBOARDS.values():
        variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
        assert variables["datasource"]["current"]["value"] == source["uid"]
        assert variables["plant"]["query"]["query"] == 'label_values(up{job="linesight"}, plant)'
