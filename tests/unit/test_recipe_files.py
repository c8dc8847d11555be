"""Recipes in files of their own are part of the plant, and a mistake in one is told at its own file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from plant_text import VALID, load

from schemas.plant_source import PlantFileInvalid

WITH_FILE = VALID + "recipe_files: [recipes/board-b.yaml]\n"
RECIPE = """\
name: board-b
views: [{ name: left }]
inspection: { type: golden }
classes: [{ name: open }]
"""


def _recipe_file(folder: Path, text: str) -> Path:
    (folder / "recipes").mkdir()
    file = folder / "recipes" / "board-b.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def _complaints(folder: Path) -> list[str]:
    with pytest.raises(PlantFileInvalid) as caught:
        load(folder, WITH_FILE)
    return str(caught.value).splitlines()


def test_a_recipe_file_follows_the_plants_own_recipes(tmp_path: Path) -> None:
    _recipe_file(tmp_path, RECIPE)
    assert [recipe.key for recipe in load(tmp_path, WITH_FILE).recipes] == ["board-a@1", "board-b@1"]


def test_a_mistake_in_a_recipe_file_is_told_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    file = _recipe_file(tmp_path, RECIPE.replace("views: [{ name: left }]", "views: [{ name: left, refrence: a.png }]"))
    (told,) = _complaints(tmp_path)
    assert told.startswith(f"{file}:2: views[0].refrence: expected")


def test_names_are_checked_over_all_files(tmp_path: Path) -> None:
    file = _recipe_file(tmp_path, RECIPE.replace("board-b", "board-a"))
    (told,) = _complaints(tmp_path)
    assert told.startswith(f"{file}:1: name: expected")


def test_a_recipe_file_that_is_missing_or_empty_is_told(tmp_path: Path) -> None:
    (told,) = _complaints(tmp_path)
    assert "recipe_files[0]: expected a file with a recipe" in told
    file = _recipe_file(tmp_path, "")
    (told,) = _complaints(tmp_path)
    assert told.startswith(f"{file}:1:")
