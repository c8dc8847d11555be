"""What a plant file may not say although every key and type is right: names that do not resolve, limits that contradict."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from schemas.plant import (
    DefectRateRule,
    FolderSource,
    KOfN,
    Plant,
    Recipe,
    SensorLimitRule,
)

Finding = tuple[tuple[str | int, ...], str, str | None]
"""Path to the value, what was expected, nearest known name."""


_INSPECTION_RANGES = (
    ("difference_threshold", 1, 255),
    ("minimum_area_px", 0, 1e9),
    ("merge_distance_px", 0, 1000),
    ("box_margin_px", 0, 1000),
    ("minimum_score", 0, 1),
    ("max_candidates", 1, 1000),
    ("max_shift_px", 0, 1000),
    ("max_angle_deg", 0, 45),
    ("minimum_alignment_quality", 0, 1),
)


def contradictions(plant: Plant, folder: Path) -> Iterator[Finding]:
    """Everything in `plant` that cannot work; files are looked up relative to `folder`."""
    yield from _names(plant)
    yield from _places(plant)
    yield from _machines(plant)
    for index, recipe in enumerate(plant.recipes):
        yield from _recipe(recipe, ("recipes", index), plant, folder)
    yield from _rules(plant)
    if not plant.statistics.windows_ms or min(plant.statistics.windows_ms) < 1000:
        yield ("statistics", "windows_ms"), "at least one window, each of 1000 ms or more", None
    if not 0 < plant.statistics.p_chart.baseline_ratio < 1:
        yield ("statistics", "p_chart", "baseline_ratio"), "a ratio between 0 and 1", None
    if not 0 <= plant.record.ok_share_ratio <= 1:
        yield ("record", "ok_share_ratio"), "a ratio from 0 to 1", None
    if not 1 <= plant.kafka.partitions <= 1000:
        yield ("kafka", "partitions"), "a partition count from 1 to 1000", None


def _names(plant: Plant) -> Iterator[Finding]:
    if not plant.plant or not all(c.isalnum() or c in "-_" for c in plant.plant):
        yield ("plant",), "a name of letters, digits, '-' and '_' (it prefixes every topic)", None
    if not plant.lines:
        yield ("lines",), "at least one line", None
    yield from _unique((("lines", i, "name"), line.name) for i, line in enumerate(plant.lines))
    yield from _unique(
        (("lines", i, "stations", j, "name"), station.name)
        for i, line in enumerate(plant.lines)
        for j, station in enumerate(line.stations)
    )
    yield from _unique(
        (("lines", i, "stations", j, "cameras", k, "name"), camera.name)
        for i, line in enumerate(plant.lines)
        for j, station in enumerate(line.stations)
        for k, camera in enumerate(station.cameras)
    )
    yield from _unique((("plcs", i, "name"), plc.name) for i, plc in enumerate(plant.plcs))
    yield from _unique((("assets", i, "name"), asset.name) for i, asset in enumerate(plant.assets))
    yield from _unique((("recipes", i, "name"), recipe.key) for i, recipe in enumerate(plant.recipes))
    yield from _unique((("alerts", i, "name"), rule.name) for i, rule in enumerate(plant.alerts))


def _places(plant: Plant) -> Iterator[Finding]:
    plcs = [plc.name for plc in plant.plcs]
    for i, line in enumerate(plant.lines):
        for j, station in enumerate(line.stations):
            where: tuple[str | int, ...] = ("lines", i, "stations", j)
            if station.plc is not None and station.plc not in plcs:
                yield (
                    (*where, "plc"),
                    f"the name of a PLC under `plcs`; `{station.plc}` is none",
                    _near(station.plc, plcs),
                )
            views = [view for camera in station.cameras for view in camera.views]
            for view in {view for view in views if views.count(view) > 1}:
                yield (*where, "cameras"), f"view `{view}` at one camera of the station only", None
            for k, camera in enumerate(station.cameras):
                if not camera.views:
                    yield (*where, "cameras", k, "views"), "at least one view", None
                if isinstance(camera.source, FolderSource) and not camera.source.path:
                    yield (*where, "cameras", k, "source", "path"), "a folder", None
            if station.gate_after_ms <= 0:
                yield (*where, "gate_after_ms"), "a positive time in ms", None


def _machines(plant: Plant) -> Iterator[Finding]:
    plcs = [plc.name for plc in plant.plcs]
    for i, plc in enumerate(plant.plcs):
        if not plc.endpoint.startswith("opc.tcp://"):
            yield ("plcs", i, "endpoint"), "an OPC UA endpoint such as opc.tcp://192.0.2.10:4840", None
        if plc.security != "none":
            for key in ("certificate", "private_key", "server_certificate"):
                if getattr(plc, key) is None:
                    yield (
                        ("plcs", i),
                        f"`{key}` (a file) for security {plc.security}, or `security: none` said openly",
                        None,
                    )
    lines = [line.name for line in plant.lines]
    for i, asset in enumerate(plant.assets):
        if asset.line not in lines:
            yield ("assets", i, "line"), f"the name of a line; `{asset.line}` is none", _near(asset.line, lines)
        if asset.plc is not None and asset.plc not in plcs:
            yield ("assets", i, "plc"), f"the name of a PLC under `plcs`; `{asset.plc}` is none", _near(asset.plc, plcs)


def _recipe(recipe: Recipe, where: tuple[str | int, ...], plant: Plant, folder: Path) -> Iterator[Finding]:
    known_views = sorted({view for camera in plant.cameras.values() for view in camera.views})
    if not recipe.views:
        yield (*where, "views"), "at least one view", None
    for index, view in enumerate(recipe.views):
        if view.name not in known_views:
            yield (
                (*where, "views", index, "name"),
                f"a view of some camera; `{view.name}` is none",
                _near(view.name, known_views),
            )
        if view.reference is not None and not (folder / view.reference).is_file():
            yield (
                (*where, "views", index, "reference"),
                f"an image file; {folder / view.reference} does not exist",
                None,
            )
    yield from _unique(((*where, "views", i, "name"), view.name) for i, view in enumerate(recipe.views))
    yield from _unique(((*where, "classes", i, "name"), item.name) for i, item in enumerate(recipe.classes))
    if not recipe.classes:
        yield (*where, "classes"), "at least one defect class", None
    for index, item in enumerate(recipe.classes):
        if not 0 <= item.minimum_score <= 1:
            yield (*where, "classes", index, "minimum_score"), "a probability from 0 to 1", None
    inspection = recipe.inspection
    for key, low, high in _INSPECTION_RANGES:
        if not low <= getattr(inspection, key) <= high:
            yield (*where, "inspection", key), f"a value from {low:g} to {high:g}", None
    if isinstance(recipe.voting, KOfN) and not 1 <= recipe.voting.k <= len(recipe.views):
        yield (*where, "voting", "k"), f"from 1 to the number of views ({len(recipe.views)})", None
    if recipe.deadline_ms is not None and recipe.deadline_ms <= 0:
        yield (*where, "deadline_ms"), "a positive time in ms, or null for none", None


def _rules(plant: Plant) -> Iterator[Finding]:
    stations = [station.name for station in plant.stations]
    assets = {asset.name: [channel.name for channel in asset.channels] for asset in plant.assets}
    for index, rule in enumerate(plant.alerts):
        where = ("alerts", index)
        if isinstance(rule, DefectRateRule):
            if not 0 <= rule.clear_ratio <= rule.raise_ratio <= 1:
                yield where, "0 <= clear_ratio <= raise_ratio <= 1", None
            if rule.station is not None and rule.station not in stations:
                yield (
                    (*where, "station"),
                    f"the name of a station; `{rule.station}` is none",
                    _near(rule.station, stations),
                )
        if isinstance(rule, SensorLimitRule):
            if rule.asset not in assets:
                yield (*where, "asset"), f"the name of an asset; `{rule.asset}` is none", _near(rule.asset, assets)
            elif rule.channel not in assets[rule.asset]:
                yield (*where, "channel"), f"a channel of `{rule.asset}`", _near(rule.channel, assets[rule.asset])
            if rule.low is None and rule.high is None and rule.max_change_per_s is None:
                yield where, "`low`, `high` or `max_change_per_s`: this rule never matches anything", None


def _unique(names: Iterable[tuple[tuple[str | int, ...], str]]) -> Iterator[Finding]:
    seen: set[str] = set()
    for path, name in names:
        if name in seen:
            yield path, f"a name of its own; `{name}` stands twice", None
        seen.add(name)


def _near(word: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return close[0] if close else None
