"""plants/learning.yaml is a line that `demo-learning` can run, and the command says what is wrong with any other."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from cli.demo_learning import learning_recipe
from cli.first_champion import draw_labelled
from cli.main import app
from cli.training_run import trained_pin
from ops.local.places import CHECKOUT
from processors.learning_plan import followed_models
from schemas.errors import ConfigurationError
from schemas.plant import Plant
from schemas.plant_file import load_plant
from simulation.learning_scenario import KINDS
from simulation.pictures import drawn_view
from simulation.references import references
from training.labels import read_samples

PLANTS = CHECKOUT / "plants"


@pytest.fixture(scope="module")
def plant() -> Plant:
    return load_plant(PLANTS / "learning.yaml")


def test_the_trainer_learns_and_follows_the_model_that_the_recipe_pins(plant: Plant) -> None:
    recipe, model = learning_recipe(plant)
    assert trained_pin(plant, model) == ("pair_segmenter", (recipe.key,), 1)
    assert model in followed_models(plant)
    assert {each.name for each in recipe.classes} == set(KINDS)
    assert plant.record.ok_share_ratio == 1.0, "good boards are reviewed, and learned from, too"


def test_every_view_is_one_that_the_simulation_draws(plant: Plant) -> None:
    drawn = {f"references/{name}" for name, _ in references()}
    for view in plant.recipes[0].views:
        assert drawn_view(plant.recipes[0], view.name)
        assert view.reference in drawn


def test_another_plant_file_is_refused_with_what_was_expected(plant: Plant) -> None:
    with pytest.raises(ConfigurationError, match="expected a plant file with a section `learning`"):
        learning_recipe(load_plant(PLANTS / "demo.yaml"))
    recipe = plant.recipes[0]
    pinned = msgspec.structs.replace(
        recipe.inspection, model=msgspec.structs.replace(recipe.inspection.model, follow=False)
    )
    unfollowed = msgspec.structs.replace(plant, recipes=(msgspec.structs.replace(recipe, inspection=pinned),))
    with pytest.raises(ConfigurationError, match="follow: true"):
        learning_recipe(unfollowed)


def test_the_first_champion_learns_from_labelled_boards_under_a_good_lamp(plant: Plant, tmp_path: Path) -> None:
    labels = draw_labelled(recipe=plant.recipes[0], plant_dir=PLANTS, folder=tmp_path / "drawn", parts=12, seed=5)
    samples = read_samples(labels)
    assert len(samples) == 24
    assert {sample.bad for sample in samples} == {True, False}
    assert all(sample.reference is not None and sample.reference.exists() for sample in samples)
    assert len({sample.group for sample in samples}) == 4, "a lot is one group"
    for sample in samples:
        picture, reference = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in (sample.image, sample.reference))
        assert picture is not None
        assert reference is not None
        assert abs(float(np.mean(picture)) / float(np.mean(reference)) - 1) < 0.15


def test_without_torch_the_command_says_what_to_install_before_it_starts_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cli.train.find_spec", lambda name: None)
    monkeypatch.setenv("LINESIGHT_RUN_DIR", str(tmp_path / "run"))
    with pytest.raises(ConfigurationError, match="make setup-train"):
        CliRunner().invoke(app, ["demo-learning"], catch_exceptions=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("other", ["--start", "--fed"])
def test_a_lamp_that_fails_is_of_a_run_that_ends(other: str) -> None:
    with pytest.raises(ConfigurationError, match="--lamp-fails-at is of a run that ends"):
        CliRunner().invoke(app, ["simulate", "--lamp-fails-at", "5", other], catch_exceptions=False)
