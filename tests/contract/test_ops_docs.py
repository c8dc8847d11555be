"""The how-tos for those on call and for subscribers: nothing in them that is not there, nothing missing that is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ops_metrics import rules

from cli.run import STAGE_MODULES
from schemas.settings import (
    BudgetSettings,
    KafkaSettings,
    ObjectStoreSettings,
    SpoolSettings,
    StageSettings,
    TritonSettings,
)
from schemas.topics import BY_NAME

ROOT = Path(__file__).parents[2]
RUN = (ROOT / "docs/run-and-watch.md").read_text(encoding="utf-8")
SETTINGS = (KafkaSettings, TritonSettings, ObjectStoreSettings, StageSettings, BudgetSettings, SpoolSettings)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.__name__)
def test_every_setting_is_documented(settings: type[KafkaSettings]) -> None:
    for field in settings.model_fields:
        assert f"`{settings.model_config['env_prefix']}{field}`".upper() in RUN.upper()


def test_no_setting_is_documented_that_there_is_not() -> None:
    known = {f"{s.model_config['env_prefix']}{field}".upper() for s in SETTINGS for field in s.model_fields}
    told = set(re.findall(r"\b(?:KAFKA|TRITON|OBJECT_STORE|LINESIGHT)_[A-Z_]+\b", RUN))
    assert told <= known


@pytest.mark.parametrize("stage", STAGE_MODULES)
def test_every_stage_is_documented(stage: str) -> None:
    assert f"`{stage}`" in RUN


@pytest.mark.parametrize("alert", rules("alerts.yml"), ids=lambda alert: alert["alert"])
def test_every_alert_is_listed_with_its_runbook(alert: dict[str, dict[str, str]]) -> None:
    row = f"| [{alert['alert']}](../{alert['annotations']['runbook']}) | {alert['labels']['severity']} |"
    assert row in RUN


def test_topics_for_subscribers_are_topics() -> None:
    text = (ROOT / "docs/subscribe-to-defects.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`<plant>\.([\w-]+)`", text))
    assert told
    assert told <= set(BY_NAME)
