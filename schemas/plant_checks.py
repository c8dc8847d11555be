"""What a plant file may not say although every key and type is right: names that do not resolve, limits that contradict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from schemas.addresses import address_lacks
from schemas.camera_checks import camera_findings
from schemas.challenge_checks import challenge_findings
from schemas.chart_checks import chart_findings
from schemas.inspection_checks import inspection_findings
from schemas.interlock_checks import interlock_findings
from schemas.learning_checks import learning_findings
from schemas.node_ids import node_findings
from schemas.plant import Asset, ExternalSource, PasswordLogin, Plant, Plc, PlcNodes
from schemas.plant_limits import limit_findings
from schemas.plant_shape import nearest
from schemas.plant_yaml import Finding, Place
from schemas.receiver_checks import receiver_findings
from schemas.recipes import KOfN, Recipe
from schemas.rule_checks import rule_findings
from schemas.statistics_checks import ALWAYS_BY, statistics_findings
from schemas.trust_checks import trust_findings
from schemas.usefulness_checks import idle_rules, late_deadlines
from schemas.watch_checks import watch_findings

FEWEST_BATCHES = 2
RESERVED_LABELS = (*ALWAYS_BY, "station", "line", "class")


def contradictions(plant: Plant) -> Iterator[Finding]:
    """Everything in `plant` that cannot work, whatever the files are that it names."""
    yield from limit_findings(plant)
    yield from _names(plant)
    yield from _places(plant)
    yield from _machines(plant)
    for index, recipe in enumerate(plant.recipes):
        yield from _recipe(recipe, ("recipes", index), plant)
    yield from inspection_findings(plant.recipes)
    yield from rule_findings(plant)
    yield from _webhooks(plant)
    yield from receiver_findings(plant)
    yield from late_deadlines(plant)
    yield from idle_rules(plant)
    yield from statistics_findings(plant)
    if plant.retraining.mix_batches < FEWEST_BATCHES:
        yield ("retraining", "mix_batches"), f"at least {FEWEST_BATCHES}: one bad batch is no drift of a model", None
    yield from learning_findings(plant)
    yield from challenge_findings(plant)
    yield from chart_findings(plant)
    if not 1 <= plant.kafka.partitions <= 1000:
        yield ("kafka", "partitions"), "a partition count from 1 to 1000", None


def missing_files(plant: Plant, folder: Path) -> Iterator[Finding]:
    """Reference images and tolerance maps that are not there; `folder` is the plant file's."""
    for i, recipe in enumerate(plant.recipes):
        for j, view in enumerate(recipe.views):
            for key, file in (("reference", view.reference), ("tolerance", view.tolerance)):
                if file is not None and not (folder / file).is_file():
                    yield ("recipes", i, "views", j, key), f"an image file; {folder / file} does not exist", None


def _names(plant: Plant) -> Iterator[Finding]:
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
    yield from _unique((("receivers", i, "name"), item.name) for i, item in enumerate(plant.receivers))


def _places(plant: Plant) -> Iterator[Finding]:
    plcs = [plc.name for plc in plant.plcs]
    for i, line in enumerate(plant.lines):
        for j, station in enumerate(line.stations):
            where: Place = ("lines", i, "stations", j)
            if station.plc is not None and station.plc not in plcs:
                yield (
                    (*where, "plc"),
                    f"the name of a PLC under `plcs`; `{station.plc}` is none",
                    nearest(station.plc, plcs),
                )
            yield from interlock_findings(station.interlocks, plant.plc(station.plc or ""), (*where, "interlocks"))
            views = [view for camera in station.cameras for view in camera.views]
            for view in sorted({view for view in views if views.count(view) > 1}):
                yield (*where, "cameras"), f"view `{view}` at one camera of the station only", None
            for k, camera in enumerate(station.cameras):
                yield from camera_findings(camera, (*where, "cameras", k))
                if station.plc is None and not isinstance(camera.source, ExternalSource):
                    yield where, f"the key `plc`: camera `{camera.name}` waits for its trigger", None


def _machines(plant: Plant) -> Iterator[Finding]:
    plcs = [plc.name for plc in plant.plcs]
    for i, plc in enumerate(plant.plcs):
        lacks = address_lacks(plc.endpoint, schemes=("opc.tcp",), port_needed=True)
        if lacks:
            yield ("plcs", i, "endpoint"), f"{lacks}, such as opc.tcp://192.0.2.10:4840", None
        absent = [key for key in ("certificate", "private_key", "server_certificate") if getattr(plc, key) is None]
        if plc.trusted_certificates is not None:
            absent = [key for key in absent if key != "server_certificate"]
            yield from trust_findings(plc, plc.trusted_certificates, ("plcs", i, "trusted_certificates"))
        if plc.security != "none" and absent:
            files = ", ".join(f"`{key}`" for key in absent)
            yield ("plcs", i), f"{files} (files) for security {plc.security}, or `security: none` said openly", None
        if plc.certificate is not None and plc.certificate == plc.private_key:
            yield ("plcs", i, "private_key"), "the file of the key, not that of the certificate", None
        if ":" not in plc.namespace or plc.namespace.startswith("ns="):
            yield ("plcs", i, "namespace"), f"a URI from the server's NamespaceArray, not `{plc.namespace}`", None
        if plc.security == "none" and isinstance(plc.login, PasswordLogin):
            yield ("plcs", i, "login"), "no password where the PLC is not encrypted: everybody could read it", None
        for node in PlcNodes.__struct_fields__:
            identifier = getattr(plc.nodes, node)
            if identifier is not None:
                yield from node_findings(identifier, ("plcs", i, "nodes", node))
        yield from _one_use(plc, ("plcs", i, "nodes"))
        yield from _labels(plc, ("plcs", i, "labels"))
    lines = [line.name for line in plant.lines]
    for i, asset in enumerate(plant.assets):
        if asset.line not in lines:
            yield ("assets", i, "line"), f"the name of a line; `{asset.line}` is none", nearest(asset.line, lines)
        if asset.plc is not None and asset.plc not in plcs:
            yield (
                ("assets", i, "plc"),
                f"the name of a PLC under `plcs`; `{asset.plc}` is none",
                nearest(asset.plc, plcs),
            )
        yield from _asset(asset, ("assets", i))


def _one_use(plc: Plc, where: Place) -> Iterator[Finding]:
    uses: dict[str, str] = {}
    defaults = PlcNodes()
    # defaults first: the mistake is where somebody wrote something
    for key in sorted(
        PlcNodes.__struct_fields__, key=lambda key: bool(getattr(plc.nodes, key) != getattr(defaults, key))
    ):
        identifier = getattr(plc.nodes, key)
        if identifier is not None and uses.setdefault(identifier, key) != key:
            yield (*where, key), f"a node of its own; `{identifier}` is `{uses[identifier]}` already", None


def _labels(plc: Plc, where: Place) -> Iterator[Finding]:
    yield from _unique(((*where, k, "name"), label.name) for k, label in enumerate(plc.labels))
    for k, label in enumerate(plc.labels):
        if label.name in RESERVED_LABELS:
            yield (*where, k, "name"), f"another name: `{label.name}` is told of every part", None
        yield from node_findings(label.node, (*where, k, "node"))


def _asset(asset: Asset, where: Place) -> Iterator[Finding]:
    if not asset.channels:
        yield (*where, "channels"), "at least one channel", None
    yield from _unique(((*where, "channels", k, "name"), channel.name) for k, channel in enumerate(asset.channels))
    yield from watch_findings(asset, where)
    for k, channel in enumerate(asset.channels):
        if asset.plc is not None and channel.node is None:
            yield (*where, "channels", k), f"the key `node`: the channel is read through PLC `{asset.plc}`", None
        if asset.plc is None and channel.node is not None:
            yield where, f"the key `plc`: channel `{channel.name}` is read through one", None
        if asset.plc is None and channel.deadband:
            yield (
                (*where, "channels", k, "deadband"),
                "no deadband: it is a PLC that would keep small changes back",
                None,
            )
        if channel.node is not None:
            yield from node_findings(channel.node, (*where, "channels", k, "node"))


def _recipe(recipe: Recipe, where: Place, plant: Plant) -> Iterator[Finding]:
    cameras = [camera for station in plant.stations for camera in station.cameras]
    known_views = sorted({view for camera in cameras for view in camera.views})
    if not recipe.views:
        yield (*where, "views"), "at least one view", None
    for index, view in enumerate(recipe.views):
        if view.name not in known_views:
            yield (
                (*where, "views", index, "name"),
                f"a view of some camera; `{view.name}` is none",
                nearest(view.name, known_views),
            )
    yield from _unique(((*where, "views", i, "name"), view.name) for i, view in enumerate(recipe.views))
    yield from _unique(((*where, "classes", i, "name"), item.name) for i, item in enumerate(recipe.classes))
    if not recipe.classes:
        yield (*where, "classes"), "at least one defect class", None
    if recipe.overload == "newest_first" and recipe.deadline_ms is None:
        yield (*where, "overload"), "`inspect_all`, or a `deadline_ms`: without one no frame is ever late", None
    if recipe.views and isinstance(recipe.voting, KOfN) and not 1 <= recipe.voting.k <= len(recipe.views):
        yield (*where, "voting", "k"), f"from 1 to the number of views ({len(recipe.views)})", None


def _webhooks(plant: Plant) -> Iterator[Finding]:
    for index, webhook in enumerate(plant.webhooks):
        lacks = address_lacks(webhook.url, schemes=("http", "https"))
        if lacks:
            yield ("webhooks", index, "url"), lacks, None


def _unique(names: Iterable[tuple[Place, str]]) -> Iterator[Finding]:
    seen: set[str] = set()
    for path, name in names:
        if name in seen:
            yield path, f"a name of its own; `{name}` stands twice", None
        seen.add(name)
