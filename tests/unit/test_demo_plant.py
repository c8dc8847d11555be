"""plants/demo.yaml: valid, complete, and its golden pictures are those that the simulation draws today."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from schemas.alert_rules import Rule
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.reasons import FailSafe
from simulation.defects import DefectKind
from simulation.imaging import Image
from simulation.pictures import drawn_view
from simulation.references import references
from simulation.sensors import simulated_channels

PLANTS = Path(__file__).parents[2] / "plants"


@pytest.fixture
def plant() -> Plant:
    return load_plant(PLANTS / "demo.yaml")


@pytest.mark.parametrize(("name", "picture"), [pytest.param(name, drawn, id=name) for name, drawn in references()])
def test_a_reference_is_what_the_simulation_draws(name: str, picture: Image) -> None:
    stored = cv2.imread(str(PLANTS / "references" / name), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(stored, picture), "run: .venv/bin/python -m simulation.references plants/references"


def test_every_view_of_every_recipe_can_be_drawn_and_has_its_reference(plant: Plant) -> None:
    files = {f"references/{name}" for name, _ in references()}
    views = [(recipe, view) for recipe in plant.recipes for view in recipe.views]
    assert {view.reference for _, view in views} == files
    for recipe, view in views:
        assert drawn_view(recipe, view.name)


def test_every_defect_of_the_simulation_can_reject_a_part(plant: Plant) -> None:
    for recipe in plant.recipes:
        assert {item.name for item in recipe.classes} == set(DefectKind)
        assert recipe.fail_safe is FailSafe.REJECT
        assert recipe.deadline_ms is not None
        assert recipe.deadline_ms < plant.stations[0].gate_after_ms


def test_every_type_of_alert_rule_is_shown(plant: Plant) -> None:
    assert {type(rule) for rule in plant.alerts} == set(Rule.__args__)


def test_every_channel_is_simulated(plant: Plant) -> None:
    assert len(simulated_channels(plant.assets, plant.plcs[0].name)) == sum(
        len(asset.channels) for asset in plant.assets
    )


def test_ports_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINESIGHT_SIM_PLC_PORT", "4999")
    monkeypatch.setenv("LINESIGHT_SIM_CAMERA_PORT", "8999")
    plant = load_plant(PLANTS / "demo.yaml")
    assert plant.plcs[0].endpoint == "opc.tcp://127.0.0.1:4999/"
    assert ":8999/" in str(plant.cameras["left"].source)
