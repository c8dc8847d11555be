"""What `linesight check` says before a plant meets its devices: what is open, what is not there yet, what will be written to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app

DEMO = Path(__file__).parents[2] / "plants" / "demo.yaml"
KEYS = ("certificate", "private_key", "server_certificate")


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's plant file in a folder of its own, with all that it names."""
    monkeypatch.delenv("LINESIGHT_CERTIFICATES", raising=False)
    file = tmp_path / "plant.yaml"
    file.write_text(DEMO.read_text())
    (tmp_path / "references").symlink_to(DEMO.parent / "references")
    (tmp_path / "certificates").mkdir()
    for name in ("linesight.der", "linesight.key", "plc-1.der"):
        (tmp_path / "certificates" / name).touch()
    return file


def warnings(file: Path) -> list[str]:
    """Key and expectation of each warning."""
    told = json.loads(CliRunner().invoke(app, ["check", str(file), "--json"]).stdout)
    assert told["valid"]
    return [f"{each['key']}: {each['expected']}" for each in told["warnings"]]


def changed(file: Path, old: str, new: str) -> Path:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return file


def test_a_plant_with_all_its_files_is_without_warnings_and_says_what_it_writes_to(plant: Path) -> None:
    assert warnings(plant) == []
    said = CliRunner().invoke(app, ["check", str(plant)]).stdout
    assert "1 line, 1 station, 3 cameras, 1 PLC, 3 recipes" in said
    assert "plc-1: is written to" in said
    changed(plant, "    heartbeat_ms: 500", "    heartbeat_ms: 500\n    observe: true")
    assert "plc-1: only observed, nothing is written to it" in CliRunner().invoke(app, ["check", str(plant)]).stdout
    assert json.loads(CliRunner().invoke(app, ["check", str(plant), "--json"]).stdout)["writes"] == {"plc-1": False}


def test_certificates_that_are_not_there_yet_are_named_with_the_verb_that_makes_them(plant: Path) -> None:
    for file in (plant.parent / "certificates").iterdir():
        file.unlink()
    told = warnings(plant)
    assert [each.partition(":")[0] for each in told] == [f"plcs[0].{key}" for key in KEYS]
    assert ["certificates create" in each for each in told] == [True, True, False]
    assert "certificates trust" in told[2]


def test_a_folder_of_trusted_certificates_is_wanted_as_a_folder_and_needs_no_pinned_one(plant: Path) -> None:
    own = "${LINESIGHT_CERTIFICATES:-certificates}/plc-1"
    changed(plant, f"server_certificate: {own}.der", f"trusted_certificates: {own}")
    (told,) = warnings(plant)
    assert told.startswith(
        f"plcs[0].trusted_certificates: a folder; {plant.parent / 'certificates' / 'plc-1'} does not exist yet"
    )
    (plant.parent / "certificates" / "plc-1").mkdir()
    assert warnings(plant) == []


def test_a_plc_without_encryption_is_warned_of_and_so_are_keys_without_use(plant: Path) -> None:
    (told,) = warnings(changed(plant, "    heartbeat_ms: 500", "    heartbeat_ms: 500\n    security: none"))
    assert told.startswith("plcs[0].security: encryption: ")
    assert told.endswith("`certificate`, `private_key`, `server_certificate` are not used")


@pytest.mark.parametrize("source", ["{ type: folder, path: nowhere }", "{ type: video, path: nowhere.mkv }"])
def test_a_source_that_is_not_there_is_warned_of(plant: Path, source: str) -> None:
    text = plant.read_text()
    begin = text.index("            source:\n")
    end = text.index("            max_width_px", begin)
    plant.write_text(text[:begin] + f"            source: {source}\n" + text[end:])
    (told,) = warnings(plant)
    assert told.startswith("lines[0].stations[0].cameras[0].source.path: a ")
    assert "nowhere" in told
    (plant.parent / "nowhere").mkdir()
    (plant.parent / "nowhere.mkv").touch()
    assert warnings(plant) == []


def test_a_class_that_the_classifier_does_not_know_and_a_missing_revision_are_warned_of(plant: Path) -> None:
    changed(plant, "{ name: spur, ", "{ name: scratch, ")
    told = warnings(changed(plant, "    revision: 1\n", ""))
    assert told[0].startswith("recipes[0]: the key `revision`: 1 is taken")
    # the class stands in an anchor that all three recipes use
    assert len(told) == 4
    assert all("`scratch` never comes" in each for each in told[1:])
    changed(plant, "classifier: { name: defect_classifier,", "classifier: { name: our_classifier,")
    assert len(warnings(plant)) == 1, "what another classifier knows is not known"
