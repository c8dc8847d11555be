"""A trained folder becomes the next version of its model, whole or not at all, and no version is ever written over."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from trained_folders import KINDS, SPOTS, trained

from processors.learned.settings import read_model_settings
from schemas.errors import ConfigurationError
from training.model_card import ModelCard
from training.release import add_version, read_candidate, repository_for, take_back, versions_in


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_versions_stand_beside_each_other_each_with_its_settings_and_card(tmp_path: Path) -> None:
    models = tmp_path / "models"
    first = read_candidate(trained(tmp_path / "a" / "spots"))
    second = read_candidate(
        trained(tmp_path / "b" / "spots", level=180.0, settings=msgspec.structs.replace(SPOTS, threshold=0.75))
    )
    add_version(models, "spots", first, 1)
    before = tree(models / "spots" / "1")
    add_version(models, "spots", second, 2)
    assert tree(models / "spots" / "1") == before
    assert versions_in([models], "spots") == {1: first.digest, 2: second.digest}
    text = (models / "spots" / "config.pbtxt").read_text()
    for version, candidate in ((1, first), (2, second)):
        (settings,) = [line for line in text.splitlines() if f'"settings/{version}"' in line]
        (digest,) = [line for line in text.splitlines() if f'"digest/{version}"' in line]
        assert candidate.digest in digest
        assert f"{candidate.settings.threshold:g}" in settings
        home = models / "spots" / str(version)
        assert read_model_settings((home / "model.json").read_bytes()) == candidate.settings
        card = msgspec.json.decode((home / "card.json").read_bytes(), type=ModelCard)
        assert (card.model, card.version, card.digest) == ("spots", version, candidate.digest)
    assert text.count('name: "spots"') == 1
    assert sorted(path.name for path in (models / "spots").iterdir()) == ["1", "2", "config.pbtxt"]


def policy(models: Path) -> str:
    (line,) = [
        line for line in (models / "spots" / "config.pbtxt").read_text().splitlines() if "version_policy" in line
    ]
    return line


def test_versions_that_nobody_asks_are_served_no_more_and_their_files_stay(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for version in (1, 2, 3):
        candidate = read_candidate(trained(tmp_path / str(version) / "spots", level=100.0 + version))
        add_version(models, "spots", candidate, version)
    assert policy(models) == "version_policy { all { } }"
    fourth = read_candidate(trained(tmp_path / "4" / "spots", level=104.0))
    add_version(models, "spots", fourth, 4, unserved={2})
    assert policy(models) == "version_policy { specific { versions: [ 1, 3, 4 ] } }"
    assert set(versions_in([models], "spots")) == {1, 2, 3, 4}
    fifth = read_candidate(trained(tmp_path / "5" / "spots", level=105.0))
    add_version(models, "spots", fifth, 5, unserved={2, 3})
    assert policy(models) == "version_policy { specific { versions: [ 1, 4, 5 ] } }"


def test_where_the_registry_tells_it_a_release_leaves_the_parameters_of_the_configuration_as_they_are(
    tmp_path: Path,
) -> None:
    models = tmp_path / "models"
    add_version(models, "spots", read_candidate(trained(tmp_path / "1" / "spots")), 1, is_told=True)
    first = (models / "spots" / "config.pbtxt").read_text()
    assert '"settings/1"' in first, "there is nothing yet that a change could disturb"
    for version in (2, 3):
        candidate = read_candidate(trained(tmp_path / str(version) / "spots", level=100.0 + version))
        add_version(models, "spots", candidate, version, is_told=True)
    assert (models / "spots" / "config.pbtxt").read_text() == first
    fourth = read_candidate(trained(tmp_path / "4" / "spots", level=104.0))
    add_version(models, "spots", fourth, 4, unserved={2}, is_told=True)
    changed = (models / "spots" / "config.pbtxt").read_text()
    assert changed == first.replace("all { }", "specific { versions: [ 1, 3, 4 ] }")


def test_what_an_abandoned_release_left_in_the_configuration_does_not_stay_for_another(tmp_path: Path) -> None:
    models = tmp_path / "models"
    add_version(models, "spots", read_candidate(trained(tmp_path / "1" / "spots")), 1)
    first = (models / "spots" / "config.pbtxt").read_text()
    take_back(add_version(models, "spots", read_candidate(trained(tmp_path / "2" / "spots", level=50)), 2))
    third = read_candidate(trained(tmp_path / "3" / "spots", level=60))
    add_version(models, "spots", third, 2, is_told=True)
    assert (models / "spots" / "config.pbtxt").read_text() == first


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    models = tmp_path / "models"
    add_version(models, "spots", read_candidate(trained(tmp_path / "a" / "spots")), 3)
    before = tree(models)
    with pytest.raises(ConfigurationError, match="never overwritten"):
        add_version(models, "spots", read_candidate(trained(tmp_path / "b" / "spots", level=10)), 3)
    assert tree(models) == before


def test_a_model_is_released_under_another_name_than_its_folder(tmp_path: Path) -> None:
    add_version(tmp_path / "models", "boards", read_candidate(trained(tmp_path / "a" / "spots")), 1)
    lines = (tmp_path / "models" / "boards" / "config.pbtxt").read_text().splitlines()
    assert [line for line in lines if line.startswith("name:")] == ['name: "boards"']


def test_what_takes_other_pictures_or_is_of_another_family_is_no_version_of_the_model(tmp_path: Path) -> None:
    models = tmp_path / "models"
    add_version(models, "spots", read_candidate(trained(tmp_path / "a" / "spots")), 1)
    before = tree(models)
    colour = msgspec.structs.replace(SPOTS, colour=True)
    anomaly = msgspec.structs.replace(SPOTS, family="anomaly")
    for name, settings, words in (
        ("colour", colour, "takes other pictures"),
        ("kinds", KINDS, "takes other pictures"),
        ("unusual", anomaly, "is of the family anomaly, spots is of segmenter"),
    ):
        candidate = read_candidate(trained(tmp_path / name, settings=settings))
        with pytest.raises(ConfigurationError, match=words):
            add_version(models, "spots", candidate, 2)
    assert tree(models) == before


@pytest.mark.parametrize("parity", [None, 0.01, float("nan"), "yes", True])
def test_a_model_without_proof_that_it_answers_as_it_was_trained_is_refused(tmp_path: Path, parity: object) -> None:
    with pytest.raises(ConfigurationError, match="parity_torch_onnx"):
        read_candidate(trained(tmp_path / "spots", parity_torch_onnx=parity))


def test_weights_that_are_not_those_of_the_card_are_refused(tmp_path: Path) -> None:
    folder = trained(tmp_path / "spots")
    (folder / "1" / "model.onnx").write_bytes(b"something else")
    with pytest.raises(ConfigurationError, match="the card is that of sha256:"):
        read_candidate(folder)


@pytest.mark.parametrize("name", ["card.json", "model.json", "config.pbtxt", "1/model.onnx"])
def test_a_folder_that_lacks_something_is_refused_by_name(tmp_path: Path, name: str) -> None:
    folder = trained(tmp_path / "spots")
    (folder / name).unlink()
    with pytest.raises(ConfigurationError, match=f"{name}: No such file"):
        read_candidate(folder)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "two words"])
def test_a_name_that_is_no_folder_of_the_repository_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="model name"):
        add_version(tmp_path / "models", name, read_candidate(trained(tmp_path / "spots")), 1)


def test_a_release_that_was_cut_off_leaves_no_version_and_can_be_made_again(tmp_path: Path) -> None:
    models, candidate = tmp_path / "models", read_candidate(trained(tmp_path / "a" / "spots"))
    add_version(models, "spots", candidate, 1)
    second = read_candidate(trained(tmp_path / "b" / "spots", level=50))
    (second.folder / "1" / "model.onnx").unlink()  # the disk failed under it
    with pytest.raises(ConfigurationError):
        add_version(models, "spots", second, 2)
    assert versions_in([models], "spots") == {1: candidate.digest}
    assert sorted(path.name for path in (models / "spots").iterdir()) == ["1", "config.pbtxt"]
    again = read_candidate(trained(tmp_path / "c" / "spots", level=50))
    add_version(models, "spots", again, 2)
    assert versions_in([models], "spots")[2] == again.digest


def test_a_version_that_was_taken_back_leaves_room_for_another(tmp_path: Path) -> None:
    models = tmp_path / "models"
    add_version(models, "spots", read_candidate(trained(tmp_path / "a" / "spots")), 1)
    take_back(add_version(models, "spots", read_candidate(trained(tmp_path / "b" / "spots", level=50)), 2))
    assert list(versions_in([models], "spots")) == [1]
    third = read_candidate(trained(tmp_path / "c" / "spots", level=60))
    add_version(models, "spots", third, 2)
    lines = (models / "spots" / "config.pbtxt").read_text().splitlines()
    (digest,) = [line for line in lines if '"digest/2"' in line]
    assert third.digest in digest
    assert sorted(path.name for path in (models / "spots").iterdir()) == ["1", "2", "config.pbtxt"]


def test_a_model_is_released_into_the_repository_that_has_it(tmp_path: Path) -> None:
    ours, trained_ones = tmp_path / "ours", tmp_path / "trained"
    (ours / "boards").mkdir(parents=True)
    assert repository_for([ours, trained_ones], "boards") == ours
    assert repository_for([ours, trained_ones], "spots") == trained_ones
