"""Whose an alert is: exactly one process of a stage looks after it, and nobody where the plant file has no such subject any more."""

from __future__ import annotations

import msgspec
import pytest
from alerting_line import plant as line_plant
from hypothesis import given
from hypothesis import strategies as st

from processors.alert_subjects import key_of
from schemas.alert_rules import (
    AlertRule,
    AssetWatchRule,
    ChartRule,
    DefectRateRule,
    ImageHealthRule,
    SensorLimitRule,
)
from schemas.chart_settings import Chart, Measurement, NotOk
from schemas.plant import Asset, Channel
from schemas.statistics_settings import StatisticsSettings
from topologies.key_partitions import owner_of, partition_of

PLANT = msgspec.structs.replace(
    line_plant(),
    assets=(Asset(name="pump", line="line-1", channels=(Channel(name="flow", unit="l/s"),)),),
    statistics=StatisticsSettings(
        by=("batch",),
        charts=(
            Chart(name="share", figure=NotOk(), chart="p", window_ms=60_000),
            Chart(name="lot", figure=NotOk(), chart="p", window_ms=60_000, by="batch"),
            Chart(name="whole", figure=NotOk(), chart="p", window_ms=60_000, by="line"),
            Chart(name="flow", figure=Measurement(asset="pump", channel="flow"), chart="i_mr"),
        ),
    ),
)


def chart(name: str) -> ChartRule:
    return ChartRule(name="control", chart=name)


@pytest.mark.parametrize(
    ("rule", "subject", "key"),
    [
        (chart("share"), "station/aoi", "line-1"),
        (chart("share"), "station/gone", None),
        (chart("share"), "station/aoi/batch=4711", None),  # it is not by batch any more
        (chart("lot"), "station/aoi/batch=47/11=a", "line-1"),
        (chart("lot"), "station/aoi/tool=3", None),
        (chart("whole"), "line/line-1", "line-1"),
        (chart("whole"), "station/aoi", None),
        (chart("flow"), "asset/pump/flow", "line-1"),
        (chart("flow"), "asset/pump/heat", None),
        (chart("gone"), "station/aoi", None),
        (ImageHealthRule(name="r", figure="shift_px", high=1.0), "left/left", "aoi"),
        (ImageHealthRule(name="r", figure="shift_px", high=1.0, camera="right"), "left/left", None),
        (ImageHealthRule(name="r", figure="shift_px", high=1.0), "left/back", None),
        (DefectRateRule(name="r", raise_ratio=0.2, clear_ratio=0.1, station="end"), "aoi", None),
        (SensorLimitRule(name="r", asset="pump", channel="flow", high=1.0), "pump/flow", "pump"),
        (SensorLimitRule(name="r", asset="pump", channel="heat", high=1.0), "pump/heat", None),
        (AssetWatchRule(name="r", asset="pump"), "pump", None),  # without a `watch`
    ],
)
def test_a_subject_is_looked_after_where_its_records_come(rule: AlertRule, subject: str, key: str | None) -> None:
    assert key_of(rule, subject, PLANT) == key


@given(st.text(), st.integers(1, 12), st.data())
def test_a_key_is_owned_by_exactly_one_of_those_who_share_the_partitions(
    key: str, partitions: int, data: st.DataObject
) -> None:
    mine = data.draw(st.frozensets(st.integers(0, partitions - 1)))
    others = frozenset(range(partitions)) - mine
    assert owner_of(mine, of=partitions)(key) is not owner_of(others, of=partitions)(key)
    assert owner_of(mine, of=partitions)(key) is (partition_of(key, of=partitions) in mine)
