"""A plant file as YAML: what is none, anchors and merges, values from the environment, damaged files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plant_text import VALID, changed, complaints, load

from schemas.errors import ConfigurationError
from schemas.plant_file import load_plant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1: plant file: expected a plant description; the file is empty"),
        ("# nothing\n", "1: plant file: expected a plant description; the file is empty"),
        (
            "a: [1\nb: 2\n",
            "1: plant file: expected valid YAML: `]` at the end of the list that begins here, and `,` between its items",
        ),
        ("a:\n\t- 1\n", "2: plant file: expected valid YAML: spaces: YAML takes no tab for indentation"),
        ("a: *b\n", "1: plant file: expected valid YAML: the anchor `&b` before its alias `*b`"),
        ("a: 1\n---\nb: 1\n", "2: plant file: expected valid YAML: one plant in one file, without `---` between"),
        ("a: &x [*x]\n", "1: plant file: expected no alias inside the value that it stands for"),
        ("[" * 5000, "1: plant file: expected valid YAML: it is nested too deeply"),
    ],
)
def test_what_is_not_yaml_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    assert complaints(tmp_path, text) == [told]


def test_aliases_cannot_blow_up_the_memory(tmp_path: Path) -> None:
    layers = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12))
    (told,) = complaints(tmp_path, f"l0: &l0 [x]\n{layers}\n")
    assert "at most 200,000 values" in told


def test_a_list_instead_of_a_plant_is_told(tmp_path: Path) -> None:
    (told,) = complaints(tmp_path, "- demo\n")
    assert told.startswith("1: plant file: expected keys and values (`plant`, `lines`, ")


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    text = changed("classes: [{ name: open }, {", "classes: [&c { name: open, minimum_area_px: 9 }, { <<: *c,")
    recipe = load(tmp_path, text).recipes[0]
    assert [(c.name, c.minimum_area_px, c.minimum_score) for c in recipe.classes] == [
        ("open", 9, 0.5),
        ("short", 9, 0.7),
    ]


def test_a_mistake_in_a_merged_mapping_is_told_where_it_stands(tmp_path: Path) -> None:
    text = changed(
        "    classes: [{ name: open }, {", "    classes:\n    - &c\n      name: open\n      minimum_score: no\n    - {"
    )
    found = complaints(tmp_path, text.replace("0.7 }]", "0.7 }\n    - { <<: *c, name: spur }"))
    assert [line.split(":")[:2] for line in found] == [
        ["28", " recipes[0].classes[0].minimum_score"],
        ["28", " recipes[0].classes[2].minimum_score"],
    ]


def test_values_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINESIGHT_TEST_GATE_MS", "1500")
    text = changed("        cameras:\n", "        gate_after_ms: ${LINESIGHT_TEST_GATE_MS}\n        cameras:\n")
    plant = load(tmp_path, text.replace("127.0.0.1:4840", "${LINESIGHT_TEST_HOST:-10.0.0.9}:4840"))
    assert plant.stations[0].gate_after_ms == 1500
    assert plant.plcs[0].endpoint == "opc.tcp://10.0.0.9:4840/"


def test_a_wrong_value_from_the_environment_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINESIGHT_TEST_GATE_MS", "soon")
    text = changed("        cameras:\n", "        gate_after_ms: ${LINESIGHT_TEST_GATE_MS}\n        cameras:\n")
    assert complaints(tmp_path, text) == [
        "7: lines[0].stations[0].gate_after_ms: expected a whole number, not the text `soon`"
    ]


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such plant file"):
        load_plant(tmp_path / "none.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load_plant(tmp_path / "picture.yaml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_plant(tmp_path)


@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_read_or_complained_about_and_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(VALID)))
    end = data.draw(st.integers(start, min(len(VALID), start + 20)))
    text = VALID[:start] + data.draw(st.text("[]{}:,-&*!<'\"# \n0a%@`|>?", max_size=6)) + VALID[end:]
    try:
        plant = load(tmp_path, text)
    except ConfigurationError as error:
        told = str(error)
    else:
        told = plant.plant
    assert told
