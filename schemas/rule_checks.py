"""What a plant file's alert rules may not say although every key and type is right."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.alert_rules import (
    AssetWatchRule,
    BrokerAwayRule,
    ChartRule,
    DefectRateRule,
    ImageHealthRule,
    SensorLimitRule,
)
from schemas.chart_settings import is_counted, is_windowed
from schemas.plant import Plant
from schemas.plant_shape import nearest
from schemas.plant_yaml import Finding, Place


def rule_findings(plant: Plant) -> Iterator[Finding]:
    """Rules that contradict themselves, or that name what is not there."""
    stations = [station.name for station in plant.stations]
    assets = {asset.name: [channel.name for channel in asset.channels] for asset in plant.assets}
    for index, rule in enumerate(plant.alerts):
        where = ("alerts", index)
        if isinstance(rule, DefectRateRule):
            if rule.clear_ratio > rule.raise_ratio:
                yield (*where, "clear_ratio"), f"at most `raise_ratio` ({rule.raise_ratio})", None
            if rule.station is not None and rule.station not in stations:
                yield (
                    (*where, "station"),
                    f"the name of a station; `{rule.station}` is none",
                    nearest(rule.station, stations),
                )
        if isinstance(rule, BrokerAwayRule) and rule.action is not None:
            yield (*where, "action"), "none: when this is raised, the broker is back and the time is over", None
        if isinstance(rule, ChartRule):
            yield from _chart(rule, where, plant)
        if isinstance(rule, AssetWatchRule):
            yield from _asset_watch(rule, where, plant)
        if isinstance(rule, ImageHealthRule):
            yield from _image_health(rule, where, sorted(plant.cameras))
        if isinstance(rule, SensorLimitRule):
            yield from _sensor_limit(rule, where, assets)


def _sensor_limit(rule: SensorLimitRule, where: tuple[str, int], assets: dict[str, list[str]]) -> Iterator[Finding]:
    if rule.asset not in assets:
        yield (*where, "asset"), f"the name of an asset; `{rule.asset}` is none", nearest(rule.asset, assets)
    elif assets[rule.asset] and rule.channel not in assets[rule.asset]:
        yield (*where, "channel"), f"a channel of `{rule.asset}`", nearest(rule.channel, assets[rule.asset])
    if rule.low is None and rule.high is None and rule.max_change_per_s is None:
        yield where, "`low`, `high` or `max_change_per_s`: this rule never matches anything", None
    if rule.low is not None and rule.high is not None and rule.low >= rule.high:
        yield (*where, "low"), f"a value below `high` ({rule.high})", None


def _chart(rule: ChartRule, where: tuple[str, int], plant: Plant) -> Iterator[Finding]:
    charts = {chart.name: chart for chart in plant.statistics.charts}
    if rule.chart not in charts:
        expected = f"the name of a chart under `statistics.charts`; `{rule.chart}` is none: this rule never matches"
        yield (*where, "chart"), expected, nearest(rule.chart, charts)
    elif rule.action is not None and not is_counted(charts[rule.chart]):
        instead = "defect_rate" if is_windowed(charts[rule.chart]) else "sensor_limit"
        yield (*where, "action"), f"none for a chart of measurements; a rule `{instead}` can stop the line", None


def _asset_watch(rule: AssetWatchRule, where: tuple[str, int], plant: Plant) -> Iterator[Finding]:
    watched = {asset.name: asset.watch is not None for asset in plant.assets}
    if rule.asset not in watched:
        yield (*where, "asset"), f"the name of an asset; `{rule.asset}` is none", nearest(rule.asset, watched)
    elif not watched[rule.asset]:
        yield (*where, "asset"), f"an asset with the key `watch`: without one `{rule.asset}` is not watched", None


def _image_health(rule: ImageHealthRule, where: Place, cameras: list[str]) -> Iterator[Finding]:
    if rule.camera is not None and rule.camera not in cameras:
        yield (*where, "camera"), f"the name of a camera; `{rule.camera}` is none", nearest(rule.camera, cameras)
    if rule.low is None and rule.high is None:
        yield where, "`low` or `high`: this rule never matches anything", None
    if rule.low is not None and rule.high is not None and rule.low >= rule.high:
        yield (*where, "low"), f"a value below `high` ({rule.high})", None
    if rule.frames < 1:
        yield (*where, "frames"), "a number of frames from 1 on", None
