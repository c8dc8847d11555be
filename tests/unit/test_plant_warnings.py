"""A rule that never matches anything, and a receiver that is never told, are found before the night they are needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from cli.main import app
from schemas.alert_rules import (
    AlertRule,
    DefectRateRule,
    ImageHealthRule,
    MissingFramesRule,
    SilentCameraRule,
    SilentStationRule,
    WrongLaneRule,
)
from schemas.plant import Camera, ExternalSource, Line, Plant, Plc, Station
from schemas.plant_file import load_plant
from schemas.plant_warnings import plant_warnings
from schemas.receivers import AlertmanagerReceiver, WebhookReceiver
from schemas.recipes import DefectClass, GoldenInspection, Recipe, View

RATE = DefectRateRule(name="rate", raise_ratio=0.3, clear_ratio=0.1)


def plant(*rules: AlertRule, **fields: Any) -> Plant:
    station: dict[str, Any] = {"plc": "plc-1", **fields.pop("station", {})}
    cameras = fields.pop("cameras", (Camera(name="top", views=("top",), source=ExternalSource()),))
    observe = fields.pop("observe", False)
    return Plant(
        plant="works",
        lines=(Line(name="line-1", stations=(Station(name="aoi", cameras=cameras, **station),)),),
        recipes=fields.pop("recipes", ()),
        plcs=(Plc(name="plc-1", endpoint="opc.tcp://127.0.0.1:4840", security="none", observe=observe),),
        alerts=rules,  # type: ignore[arg-type]  # every rule class is in the union
        **fields,
    )


def told(description: Plant) -> list[str]:
    return [expected for _, expected, _ in plant_warnings(description)]


def recipe(view: str) -> Recipe:
    return Recipe(
        name="board",
        revision=1,
        views=(View(name=view),),
        inspection=GoldenInspection(),
        classes=(DefectClass(name="open"),),
    )


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (plant(SilentStationRule(name="r"), station={"plc": None}), "a station with a `plc`"),
        (plant(SilentCameraRule(name="r"), station={"plc": None}), "a station with a `plc`"),
        (plant(MissingFramesRule(name="r"), cameras=()), "a camera"),
        (plant(WrongLaneRule(name="r"), observe=True), "a station with a `plc` that is not only observed"),
        (plant(ImageHealthRule(name="r", figure="black_ratio", low=0.0)), "a `low` above 0"),
        (plant(ImageHealthRule(name="r", figure="black_ratio", high=0.1), recipes=(recipe("side"),)), "a recipe with"),
        (plant(RATE, recipes=(recipe("side"),)), "a recipe with a view of the station"),
        (
            plant(
                DefectRateRule(name="r", raise_ratio=0.3, clear_ratio=0.1, window_ms=10_000, minimum_parts=20),
                recipes=(recipe("top"),),
                station={"plc": "plc-1", "ideal_cycle_ms": 1_000},
            ),
            "a `window_ms` in which `minimum_parts` (20) fit",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_that_never_matches_is_warned_of(description: Plant, expected: str) -> None:
    (warning,) = told(description)
    assert warning.startswith(expected)
    assert warning.endswith("this rule never matches anything")


def test_rules_that_can_match_are_not_warned_of() -> None:
    rules = (
        RATE,
        SilentStationRule(name="a"),
        SilentCameraRule(name="b"),
        MissingFramesRule(name="c"),
        WrongLaneRule(name="d"),
        ImageHealthRule(name="e", figure="sharpness_ratio", low=0.5),
    )
    assert told(plant(*rules, recipes=(recipe("top"),), station={"plc": "plc-1", "ideal_cycle_ms": 1_000})) == []


def test_a_rule_that_reaches_nobody_and_a_receiver_that_hears_nothing_are_warned_of() -> None:
    lead = AlertmanagerReceiver(name="lead", url="http://192.0.2.1", minimum_severity="critical")
    assert told(plant(RATE, receivers=(lead,))) == [
        "a receiver for it: `rate` (warning) reaches none",
        "a rule from critical on among its rules: nothing is ever told to `lead`",
    ]


@pytest.mark.parametrize("name", ["demo.yaml", "learning.yaml", "pcb.yaml"])
def test_the_plant_files_here_are_without_warnings(name: str) -> None:
    assert told(load_plant(Path(__file__).parents[2] / "plants" / name)) == []


def test_check_tells_warnings_with_their_line_and_keeps_secrets_to_itself(tmp_path: Path) -> None:
    shift = WebhookReceiver(name="shift", url="http://192.0.2.1", secret="sixteen characters long")
    description = plant(SilentStationRule(name="quiet"), station={"plc": None}, receivers=(shift,), recipes=())
    file = tmp_path / "plant.yaml"
    file.write_bytes(msgspec.yaml.encode(msgspec.to_builtins(description)))
    found = CliRunner().invoke(app, ["check", str(file)])
    assert found.exit_code == 0
    assert "warning: " in found.stdout
    assert "alerts[0]: expected a station with a `plc`" in found.stdout
    shown = CliRunner().invoke(app, ["check", str(file), "--json"]).stdout
    assert json.loads(shown)["warnings"][0]["key"] == "alerts[0]"
    assert "sixteen characters long" not in shown
    assert "sixteen characters long" not in repr(description)
